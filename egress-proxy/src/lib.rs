//! A TLS-intercepting forward proxy.

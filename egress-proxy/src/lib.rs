//! A TLS-intercepting forward proxy.

pub mod scan;

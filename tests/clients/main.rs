//! Real programs through the proxy, by their environment alone.

//! What the launcher and the egress proxy must agree on. No IO, no tokio.

//! What two binaries must agree on: the route table and its judge, the record, the issuer, the words of supervise and the
//! launch contract.
//!
//! A type belongs here only if two binaries must agree on it. No IO, no tokio.

pub mod authority;
pub mod contract;
pub mod issuer;
pub mod record;
pub mod routes;
pub mod supervise;
pub mod yaml;

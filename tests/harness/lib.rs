//! Real origins, clients and PKI for tests and benches.

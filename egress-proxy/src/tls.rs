//! The process's two TLS roles: server toward clients, with leaves minted by the bottle's authority, and client toward
//! origins, with real verification that nothing can switch off.

pub mod anchors;
pub mod leaves;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The one crypto provider. Suites are ordered so that handshakes hash with SHA-256, which processors have instructions
/// for; SHA-384, the usual first choice, they have not.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

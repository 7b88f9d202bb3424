//! Whom we believe as an origin: webpki's roots and what the operator adds. Never less than full verification.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;

/// Client configurations toward origins, one for each protocol offer.
#[derive(Clone)]
pub struct Anchors {
    /// Offers `http/1.1` only.
    pub h1: Arc<ClientConfig>,
    /// Offers `h2`, then `http/1.1`.
    pub h2: Arc<ClientConfig>,
}

impl Anchors {
    /// `extra`: PEM files with further roots (`--upstream-ca`).
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate.
    pub fn new(provider: Arc<CryptoProvider>, extra: &[PathBuf]) -> Result<Self, AnchorError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for path in extra {
            let unusable = |reason: String| AnchorError { path: path.clone(), reason };
            let mut count = 0;
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
                count += 1;
            }
            if count == 0 {
                return Err(unusable("it holds no PEM certificate".to_owned()));
            }
        }
        let config = |protocols: &[&[u8]]| {
            let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
            let builder = builder.map_err(|error| AnchorError { path: PathBuf::new(), reason: error.to_string() })?;
            let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Ok(Arc::new(config))
        };
        Ok(Self { h1: config(&[b"http/1.1"])?, h2: config(&[b"h2", b"http/1.1"])? })
    }
}

/// A root file that cannot be used.
#[derive(Clone, Debug, Error)]
#[error("the root certificates in `{}` cannot be used: {reason}", path.display())]
pub struct AnchorError {
    path: PathBuf,
    reason: String,
}

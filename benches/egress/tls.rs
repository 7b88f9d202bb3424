//! Certificates and TLS settings of the benchmark's own parts. Both ends of the floor are set as the proxy's are, so that
//! a difference between the two is not one of settings.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    CipherSuite, ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// An authority of its own, and the one key of all its leaves.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    signer: Arc<dyn rustls::sign::SigningKey>,
}

impl Authority {
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Another name than its leaves have, or they look self-signed.
        params.distinguished_name.push(DnType::CommonName, "the benchmark's authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = ring::sign::any_supported_type(&der)?;
        Ok(Self { issuer, key, signer })
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn leaf(&self, names: &[&str]) -> anyhow::Result<Arc<CertifiedKey>> {
        Ok(Arc::new(CertifiedKey::new(vec![self.sign(names)?.der().clone()], self.signer.clone())))
    }

    /// Such a leaf, and its key, for a server that reads files.
    pub fn leaf_pem(&self, names: &[&str]) -> anyhow::Result<(String, String)> {
        Ok((self.sign(names)?.pem(), self.key.serialize_pem()))
    }

    fn sign(&self, names: &[&str]) -> anyhow::Result<Certificate> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&self.key, &self.issuer)?)
    }
}

/// The proxy's choice: handshakes that hash with SHA-256 come first.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// A client that trusts the authorities in `pem` alone.
pub fn client(pem: &str, protocol: &str) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(root?)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    Ok(config)
}

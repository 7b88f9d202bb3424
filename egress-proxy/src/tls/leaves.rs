//! Leaves: end-entity certificates for the authorities that clients CONNECT to (RFC 5280 §4), minted on demand into a
//! bounded cache under single flight. One key pair serves them all, and it is never the issuer's.
//!
//! A leaf's name comes from the CONNECT authority, never from the SNI; a client whose SNI is another name gets an alert.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use ring::rand::SecureRandom;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SigningKey},
};
use shared::{
    authority::Host,
    issuer::{BACK_DATING, CertificateAuthority},
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::metrics::{Counter, Histogram, Page};

/// How long a leaf is valid; it is minted anew when half of that is over.
const VALIDITY: Duration = Duration::days(2);
/// Leaves kept for hosts that a route names.
const LISTED_CAPACITY: usize = 1024;
/// Leaves kept for all other hosts, whose clients only ever read a refusal.
const UNLISTED_CAPACITY: usize = 32;

/// Whether a route names the host: unknown hosts have a cache of their own, so they can never push the others out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listing {
    Listed,
    Unlisted,
}

/// Mints and keeps leaves.
pub struct Leaves {
    authority: CertificateAuthority,
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    base: ServerConfig,
    listed: Cache<Host, Leaf>,
    unlisted: Cache<Host, Leaf>,
    metrics: LeafMetrics,
}

/// How often leaves were at hand, and what it took to mint the others.
#[derive(Debug, Default)]
pub struct LeafMetrics {
    asked: Counter,
    minted: Counter,
    minting: Histogram,
}

impl LeafMetrics {
    pub fn write(&self, page: &mut Page) {
        let hits = self.asked.value().saturating_sub(self.minted.value());
        page.count("egress_proxy_leaf_cache_hits_total", "Handshakes whose leaf was at hand.", hits);
        page.counter("egress_proxy_leaves_minted_total", "Leaves that were not in the cache.", &self.minted);
        page.histogram("egress_proxy_mint_seconds", "Making and signing a leaf.", &self.minting);
    }
}

#[derive(Clone)]
struct Leaf {
    config: Arc<ServerConfig>,
    renew_after: OffsetDateTime,
}

impl Leaves {
    /// # Errors
    /// The system's random source failed.
    pub fn new(authority: CertificateAuthority, provider: &Arc<CryptoProvider>) -> Result<Self, MintError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = provider.key_provider.load_private_key(der)?;
        let mut base = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoLeaf));
        base.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        base.ignore_client_order = true;
        // Resumption saves clients on this link nothing that is worth keeping state for.
        base.send_tls13_tickets = 0;
        base.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            authority,
            key,
            signer,
            base,
            listed: Cache::new(LISTED_CAPACITY),
            unlisted: Cache::new(UNLISTED_CAPACITY),
            metrics: LeafMetrics::default(),
        })
    }

    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    pub fn metrics(&self) -> &LeafMetrics {
        &self.metrics
    }

    /// The TLS configuration whose leaf is for `host`.
    ///
    /// # Errors
    /// The leaf could not be signed.
    pub fn config(&self, host: &Host, listing: Listing) -> Result<Arc<ServerConfig>, MintError> {
        let cache = match listing {
            Listing::Listed => &self.listed,
            Listing::Unlisted => &self.unlisted,
        };
        self.metrics.asked.add(1);
        let now = OffsetDateTime::now_utc();
        let leaf = cache.get_or_insert_with(host, || self.mint(host, now))?;
        if now < leaf.renew_after {
            return Ok(leaf.config);
        }
        let leaf = self.mint(host, now)?;
        cache.insert(host.clone(), leaf.clone());
        Ok(leaf.config)
    }

    /// A configuration that ends every handshake with an alert: for a client whose SNI is another name.
    pub fn refusal(&self) -> Arc<ServerConfig> {
        Arc::new(self.base.clone())
    }

    fn mint(&self, host: &Host, now: OffsetDateTime) -> Result<Leaf, MintError> {
        let started = std::time::Instant::now();
        let leaf = self.sign(host, now)?;
        self.metrics.minted.add(1);
        self.metrics.minting.observe(started.elapsed());
        Ok(leaf)
    }

    fn sign(&self, host: &Host, now: OffsetDateTime) -> Result<Leaf, MintError> {
        let mut params = CertificateParams::default();
        params.not_before = now - BACK_DATING;
        params.not_after = (now + VALIDITY).min(self.authority.not_after());
        params.serial_number = Some(serial()?);
        params.subject_alt_names = vec![match host {
            Host::Ip(address) => SanType::IpAddress(*address),
            Host::Name(name) => SanType::DnsName(name.as_ref().try_into()?),
        }];
        // The common name is for people who look at the certificate; verifiers read the SAN. It is at most 64 long.
        let mut subject = DistinguishedName::new();
        let name: String = host.bare().chars().take(64).collect();
        subject.push(DnType::CommonName, name);
        params.distinguished_name = subject;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.key, self.authority.issuer())?;
        let chain = vec![certificate.der().clone(), CertificateDer::from(self.authority.cert_der().to_vec())];
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(OneLeaf(Arc::new(CertifiedKey::new(chain, self.signer.clone()))));
        Ok(Leaf { config: Arc::new(config), renew_after: now + VALIDITY / 2 })
    }
}

/// 127 random bits, positive and never zero (RFC 5280 §4.1.2.2).
fn serial() -> Result<SerialNumber, MintError> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| MintError::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

struct OneLeaf(Arc<CertifiedKey>);

impl ResolvesServerCert for OneLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl fmt::Debug for OneLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneLeaf")
    }
}

#[derive(Debug)]
struct NoLeaf;

impl ResolvesServerCert for NoLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Why no leaf could be made.
#[derive(Debug, Error)]
pub enum MintError {
    #[error("failed to sign a leaf")]
    Certificate(#[from] rcgen::Error),
    #[error("the system's random source failed")]
    Random,
    #[error("failed to set TLS up")]
    Tls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves() -> Leaves {
        let authority = CertificateAuthority::create(OffsetDateTime::now_utc(), Duration::days(7)).unwrap();
        Leaves::new(authority, &crate::tls::provider()).unwrap()
    }

    #[test]
    fn a_host_has_one_leaf_however_often_it_is_asked_for() {
        let leaves = leaves();
        let host: Host = "a.example".parse().unwrap();
        let first = leaves.config(&host, Listing::Listed).unwrap();
        let again = leaves.config(&host, Listing::Listed).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn unlisted_hosts_never_push_listed_ones_out() {
        let leaves = leaves();
        let host: Host = "a.example".parse().unwrap();
        let first = leaves.config(&host, Listing::Listed).unwrap();
        for index in 0..200 {
            let other: Host = format!("h{index}.example").parse().unwrap();
            leaves.config(&other, Listing::Unlisted).unwrap();
        }
        assert!(leaves.unlisted.len() <= UNLISTED_CAPACITY);
        assert!(Arc::ptr_eq(&first, &leaves.config(&host, Listing::Listed).unwrap()));
    }
}

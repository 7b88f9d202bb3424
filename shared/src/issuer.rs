//! The bottle's own certificate authority (RFC 5280): make one, load one, describe one. Mints nothing itself, writes no
//! file and has no `Debug`: it holds the key.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

/// How far a certificate's validity starts in the past, for clocks that run behind.
pub const BACK_DATING: Duration = Duration::minutes(10);

/// A certificate authority with its key.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    cert_der: Vec<u8>,
    cert_pem: String,
    not_after: OffsetDateTime,
}

impl CertificateAuthority {
    /// Makes an authority with a P-256 key, valid from shortly before `now` for `validity`.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn create(now: OffsetDateTime, validity: Duration) -> Result<Self, IssuerError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IssuerError::Create)?;
        let mut params = CertificateParams::default();
        params.not_before = now - BACK_DATING;
        params.not_after = now + validity;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // The name carries the key's own identifier: two bottles' authorities never look like one.
        let identifier = params.key_identifier(&key);
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("bottle egress-proxy {}", hexadecimal(&identifier[..4], "")));
        params.distinguished_name = name;
        let certificate = params.self_signed(&key).map_err(IssuerError::Create)?;
        Self::load(&certificate.pem(), &key.serialize_pem(), now)
    }

    /// Loads an authority from PEM texts: a certificate, and a key in PKCS#8.
    ///
    /// # Errors
    /// Texts that are no such PEM, a certificate that is no authority or has expired, a key of another certificate.
    pub fn load(cert_pem: &str, key_pem: &str, now: OffsetDateTime) -> Result<Self, IssuerError> {
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).map_err(|_| IssuerError::CertificatePem)?;
        let certificate = pem.parse_x509().map_err(|_| IssuerError::CertificatePem)?;
        if !certificate.is_ca() {
            return Err(IssuerError::NotAnAuthority);
        }
        let signs = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !signs {
            return Err(IssuerError::NotAnAuthority);
        }
        let not_after = certificate.validity().not_after.to_datetime();
        if now >= not_after {
            return Err(IssuerError::Expired(not_after));
        }
        if key_pem.contains("BEGIN EC PRIVATE KEY") || key_pem.contains("BEGIN RSA PRIVATE KEY") {
            return Err(IssuerError::KeyForm);
        }
        let key = KeyPair::from_pem(key_pem).map_err(|_| IssuerError::KeyPem)?;
        if key.public_key_raw() != certificate.public_key().subject_public_key.data.as_ref() {
            return Err(IssuerError::KeyMismatch);
        }
        let cert_der = pem.contents.clone();
        let issuer =
            Issuer::from_ca_cert_der(&cert_der.as_slice().into(), key).map_err(|_| IssuerError::CertificatePem)?;
        Ok(Self { issuer, cert_pem: cert_pem.to_owned(), cert_der, not_after })
    }

    /// What signs leaves.
    pub fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// The certificate, PEM; public.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The certificate, DER; public.
    pub fn cert_der(&self) -> &[u8] {
        &self.cert_der
    }

    /// The key, PEM (PKCS#8); the one secret of a bottle's interception.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.cert_der)
    }
}

/// The SHA-256 of a certificate, shown as tools show it: `AB:CD:…`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0, ":"))
    }
}

fn hexadecimal(bytes: &[u8], separator: &str) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(separator)
}

/// Why an authority cannot be made or loaded.
#[derive(Debug, Error)]
pub enum IssuerError {
    #[error("the certificate is no PEM certificate (expected `-----BEGIN CERTIFICATE-----`)")]
    CertificatePem,
    #[error("failed to make a certificate authority")]
    Create(#[source] rcgen::Error),
    #[error("the certificate authority expired on {0}; make a new one with `egress-proxy ca init`")]
    Expired(OffsetDateTime),
    #[error("the key is not in PKCS#8; convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW`")]
    KeyForm,
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    #[error("the key is no PEM private key (expected `-----BEGIN PRIVATE KEY-----`)")]
    KeyPem,
    #[error("the certificate is no certificate authority that may sign certificates")]
    NotAnAuthority,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    #[test]
    fn an_authority_survives_its_pem() {
        let made = CertificateAuthority::create(now(), Duration::days(7)).unwrap();
        let loaded = CertificateAuthority::load(made.cert_pem(), &made.key_pem(), now()).unwrap();
        assert_eq!(made.fingerprint(), loaded.fingerprint());
        assert_eq!(made.fingerprint().to_string().len(), 32 * 3 - 1);
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let made = CertificateAuthority::create(now(), Duration::days(7)).unwrap();
        let other = CertificateAuthority::create(now(), Duration::days(7)).unwrap();
        let load = |cert: &str, key: &str, at| CertificateAuthority::load(cert, key, at).err().unwrap();
        assert!(matches!(load(made.cert_pem(), &other.key_pem(), now()), IssuerError::KeyMismatch));
        assert!(matches!(load(made.cert_pem(), &made.key_pem(), now() + Duration::days(8)), IssuerError::Expired(_)));
        assert!(matches!(load("x", &made.key_pem(), now()), IssuerError::CertificatePem));
        assert!(matches!(load(made.cert_pem(), "x", now()), IssuerError::KeyPem));
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert!(matches!(load(&leaf.pem(), &key.serialize_pem(), now()), IssuerError::NotAnAuthority));
    }
}

//! Where values are kept: by name, from stdin, the environment and files. Nothing here can show one.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use shared::routes::CredentialSource;
use zeroize::Zeroizing;

use super::{CredentialError, MIN_SECRET_LENGTH};

/// A value that must not be shown. Overwritten when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The bytes, for writing into a request or comparing; never for showing.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Values by name: from stdin first, then from the environment, and from files by path.
#[derive(Default)]
pub struct SecretStore {
    given: BTreeMap<String, Arc<Secret>>,
}

impl SecretStore {
    /// Replaces what is named, keeps the rest.
    pub fn replace(&mut self, secrets: BTreeMap<String, String>) {
        for (name, value) in secrets {
            self.given.insert(name, Arc::new(Secret::new(value)));
        }
    }

    /// The same values, and these, which replace what has their names.
    pub fn with(&self, secrets: BTreeMap<String, String>) -> Self {
        let mut store = Self { given: self.given.clone() };
        store.replace(secrets);
        store
    }

    pub(super) fn find(&self, source: &CredentialSource) -> Result<Arc<Secret>, CredentialError> {
        let name = source.name();
        let secret = match source {
            CredentialSource::Env(variable) => self.named(variable)?,
            CredentialSource::File(path) => Arc::new(Secret::new(read_secret(path)?)),
            CredentialSource::HostVariable(_) => return Err(CredentialError::Missing(name)),
        };
        match secret.expose().len() {
            0 => Err(CredentialError::Empty(name)),
            1..MIN_SECRET_LENGTH => Err(CredentialError::TooShort(name)),
            _ => Ok(secret),
        }
    }

    fn named(&self, name: &str) -> Result<Arc<Secret>, CredentialError> {
        if let Some(secret) = self.given.get(name) {
            return Ok(secret.clone());
        }
        let value = std::env::var_os(name).ok_or_else(|| CredentialError::Missing(name.to_owned()))?;
        Ok(Arc::new(Secret::new(value.into_encoded_bytes())))
    }
}

/// A secret's file, without the line end that editors leave.
fn read_secret(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let unreadable = |error: std::io::Error| CredentialError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut value = std::fs::read(path).map_err(unreadable)?;
    while value.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        value.pop();
    }
    Ok(value)
}

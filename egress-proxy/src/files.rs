//! The files that the proxy reads and writes: route tables, and an authority's certificate and key. Every error names
//! its file.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use shared::{
    issuer::{CertificateAuthority, IssuerError},
    routes::{Dialect, Routes, decode},
    yaml::{Diagnostics, Report},
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

/// How long a new authority is valid.
pub const CA_VALIDITY: Duration = Duration::days(30);

/// Reads a route table.
///
/// # Errors
/// The file cannot be read, or all of its mistakes.
pub fn read_routes(path: &Path) -> Result<Routes, FileError> {
    let text = read(path)?;
    parse_routes(&text, &path.display().to_string())
}

/// Reads a route table from text; `name` is what errors call it.
///
/// # Errors
/// All of its mistakes.
pub fn parse_routes(text: &str, name: &str) -> Result<Routes, FileError> {
    let mut log = Diagnostics::default();
    decode(text, Dialect::Proxy, &mut log).ok_or_else(|| FileError::Routes(log.report(name, text)))
}

/// Loads an authority from two files.
///
/// # Errors
/// A file cannot be read, or holds something else.
pub fn read_ca(cert: &Path, key: &Path) -> Result<CertificateAuthority, FileError> {
    let (cert_pem, key_pem) = (read(cert)?, read(key)?);
    CertificateAuthority::load(&cert_pem, &key_pem, OffsetDateTime::now_utc())
        .map_err(|source| FileError::Ca { path: cert.to_owned(), source })
}

/// The two files of an authority's folder.
pub fn ca_files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("ca.pem"), folder.join("ca-key.pem"))
}

/// Loads the authority in a folder, or makes one there.
///
/// # Errors
/// A file cannot be read or written, or holds something else.
pub fn open_ca(folder: &Path) -> Result<CertificateAuthority, FileError> {
    let (cert, key) = ca_files(folder);
    if cert.exists() || key.exists() { read_ca(&cert, &key) } else { make_ca(folder, CA_VALIDITY) }
}

/// Makes an authority in a folder that has none. The key is readable by its owner only from its first byte.
///
/// # Errors
/// A file is there already or cannot be written.
pub fn make_ca(folder: &Path, validity: Duration) -> Result<CertificateAuthority, FileError> {
    let (cert, key) = ca_files(folder);
    let authority = CertificateAuthority::create(OffsetDateTime::now_utc(), validity)
        .map_err(|source| FileError::Ca { path: cert.clone(), source })?;
    fs::create_dir_all(folder).map_err(|source| FileError::Write { path: folder.to_owned(), source })?;
    for (path, text, mode) in [
        (&key, zeroize::Zeroizing::new(authority.key_pem()), 0o600),
        (&cert, authority.cert_pem().to_owned().into(), 0o644),
    ] {
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| FileError::Write { path: path.clone(), source })?;
    }
    Ok(authority)
}

fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("`{}` is no usable certificate authority", path.display())]
    Ca { path: PathBuf, source: IssuerError },
    #[error("failed to read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the route table has mistakes\n{0}")]
    Routes(Report),
    #[error("failed to write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

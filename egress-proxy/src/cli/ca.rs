//! `egress-proxy ca`: make an authority, or show one. Prints public facts only.

use std::{io::Write, path::PathBuf};

use clap::Subcommand;
use shared::issuer::CertificateAuthority;
use time::Duration;

use crate::files;

/// Make or show a certificate authority.
#[derive(Debug, Subcommand)]
pub enum CaVerb {
    /// Make a new authority: `ca.pem`, and `ca-key.pem` that only its owner can read.
    Init {
        /// The folder; made if absent.
        #[arg(long, value_name = "DIR")]
        ca_dir: PathBuf,
        /// How long it is valid.
        #[arg(long, value_name = "N", default_value_t = files::CA_VALIDITY.whole_days())]
        days: i64,
    },
    /// Show an authority's fingerprint and validity.
    Show {
        /// The folder.
        #[arg(long, value_name = "DIR")]
        ca_dir: PathBuf,
        /// Print the certificate too.
        #[arg(long)]
        pem: bool,
    },
}

pub fn run(verb: &CaVerb, out: &mut impl Write) -> anyhow::Result<u8> {
    match verb {
        CaVerb::Init { ca_dir, days } => {
            anyhow::ensure!((1..=3650).contains(days), "`--days` must be from 1 to 3650");
            describe(&files::make_ca(ca_dir, Duration::days(*days))?, out)?;
        }
        CaVerb::Show { ca_dir, pem } => {
            let (cert, key) = files::ca_files(ca_dir);
            let authority = files::read_ca(&cert, &key)?;
            describe(&authority, out)?;
            if *pem {
                write!(out, "{}", authority.cert_pem())?;
            }
        }
    }
    Ok(0)
}

fn describe(authority: &CertificateAuthority, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "SHA-256 fingerprint: {}", authority.fingerprint())?;
    writeln!(out, "valid until: {}", authority.not_after())
}

//! `egress-proxy routes`: validate a table, print the one in force, or the schema for editors.

use std::{io::Write, net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Subcommand;

use super::healthcheck::ask;
use crate::files;

/// Validate a route table, print the one in force, or the JSON Schema.
#[derive(Debug, Subcommand)]
pub enum RoutesVerb {
    /// Print the table that a running proxy enforces, as JSON.
    Live {
        /// The proxy's admin listener.
        #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from(([127, 0, 0, 1], shared::contract::ADMIN_PORT)))]
        admin: SocketAddr,
    },
    /// Report every mistake of a table, with its place.
    Validate {
        #[arg(long, value_name = "FILE")]
        routes: PathBuf,
    },
    /// Print the JSON Schema of a table.
    Schema,
}

pub fn run(verb: &RoutesVerb, out: &mut impl Write) -> anyhow::Result<u8> {
    match verb {
        RoutesVerb::Live { admin } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let table = runtime.block_on(ask(*admin, "/allowlist"));
            let table = table.with_context(|| format!("the proxy at {admin} does not tell its table"))?;
            out.write_all(&table)?;
            writeln!(out)?;
        }
        RoutesVerb::Validate { routes } => {
            let count = files::read_routes(routes)?.iter().len();
            writeln!(out, "{}: {count} route{}", routes.display(), if count == 1 { "" } else { "s" })?;
        }
        RoutesVerb::Schema => out.write_all(shared::routes::SCHEMA.as_bytes())?,
    }
    Ok(0)
}

//! `egress-proxy routes`: validate a table, or print the schema for editors.

use std::{io::Write, path::PathBuf};

use clap::Subcommand;

use crate::files;

/// Validate a route table, or print its JSON Schema.
#[derive(Debug, Subcommand)]
pub enum RoutesVerb {
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
        RoutesVerb::Validate { routes } => {
            let count = files::read_routes(routes)?.iter().len();
            writeln!(out, "{}: {count} route{}", routes.display(), if count == 1 { "" } else { "s" })?;
        }
        RoutesVerb::Schema => out.write_all(shared::routes::SCHEMA.as_bytes())?,
    }
    Ok(0)
}

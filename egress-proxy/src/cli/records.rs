//! `egress-proxy records`: what a line of the log is.

use std::io::Write;

use clap::Subcommand;

/// Print the schema of records.
#[derive(Debug, Subcommand)]
pub enum RecordsVerb {
    /// Print the JSON Schema of a line of the log.
    Schema,
}

pub fn run(verb: &RecordsVerb, out: &mut impl Write) -> anyhow::Result<u8> {
    match verb {
        RecordsVerb::Schema => out.write_all(shared::record::SCHEMA.as_bytes())?,
    }
    Ok(0)
}

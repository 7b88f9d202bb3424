//! `egress-proxy learn`: proposes the smallest table from what was seen.

use std::{
    io::{Read, Write},
    path::PathBuf,
};

use clap::Args;

use crate::{
    learn::{Refused, Wish, propose},
    traffic::Traffic,
};

/// Propose the smallest table that grants what was recorded; valid for `--routes`, with comments.
#[derive(Debug, Args)]
pub struct LearnArgs {
    /// Records (one JSON object a line) or HAR files; stdin where there are none.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Merge paths to "everything below" where so many different names were seen below one.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..))]
    merge: u16,
    /// Grant what the table of that time refused, too. Never what the scan or pipelock blocked.
    #[arg(long)]
    refused: bool,
}

pub fn run(args: &LearnArgs, input: &mut dyn Read, out: &mut dyn Write) -> anyhow::Result<u8> {
    let traffic = Traffic::read(&args.files, input)?;
    let refused = if args.refused { Refused::Granted } else { Refused::LeftOut };
    out.write_all(propose(&traffic, Wish { merge: args.merge.into(), refused }).as_bytes())?;
    Ok(0)
}

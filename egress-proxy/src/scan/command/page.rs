//! The documentation of the scan: a fixed part, and the rules by group.

use std::io::{self, Write};

use crate::scan::Scanner;

pub(super) fn write(scanner: &Scanner, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(include_bytes!("page.md"))?;
    let mut group = "";
    for rule in scanner.rules() {
        if rule.group() != group {
            group = rule.group();
            writeln!(out, "\n### {group}\n\n| rule | finds | keywords |\n|---|---|---|")?;
        }
        let finds = match rule.source() {
            Some(source) => format!("[{}]({source})", rule.description()),
            None => rule.description().to_owned(),
        };
        let keywords: Vec<_> = rule.keywords().take(4).map(|keyword| format!("`{keyword}`")).collect();
        let more = if rule.keywords().count() > 4 { ", …" } else { "" };
        writeln!(out, "| `{}` | {finds} | {}{more} |", rule.id(), keywords.join(", "))?;
    }
    Ok(())
}

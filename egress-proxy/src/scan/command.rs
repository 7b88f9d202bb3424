//! `egress-proxy scan`: judges what is given on stdin or in files, as the proxy would.
//!
//! Exit code 0: nothing found; 3: found. Shows the line with a caret under the place, never the match.

mod page;

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::json;

use super::{ExactValues, Exemptions, Finding, Place, RulesError, RulesFile, Scanner, UnknownRule};

/// Judge text or files as the proxy judges what leaves.
#[derive(Clone, Debug, Args)]
pub struct ScanArgs {
    /// Files to judge; stdin when there is none.
    pub files: Vec<PathBuf>,
    /// One JSON object a finding.
    #[arg(long)]
    pub json: bool,
    /// As what the text is judged.
    #[arg(long = "as", value_enum, default_value_t = Part::Body, value_name = "PART")]
    pub part: Part,
    /// The content's type, for `--as body`.
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// The content's coding, for `--as body`: gzip, br, zstd, deflate.
    #[arg(long, value_name = "CODING")]
    pub content_encoding: Option<String>,
    /// A rules file of your own, in gitleaks' format.
    #[arg(long, value_name = "FILE")]
    pub scan_rules: Option<PathBuf>,
    /// Rules that do not apply.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub except: Vec<String>,
    /// List the rules instead.
    #[arg(long)]
    pub rules: bool,
    /// With `--rules`: as the page `docs/scan.md`.
    #[arg(long, requires = "rules")]
    pub markdown: bool,
}

/// The part of a request that a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Body,
    /// One field a line.
    Header,
    Query,
    Path,
}

/// Why a scan cannot be made. Exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error(transparent)]
    Except(#[from] UnknownRule),
    #[error("cannot read `{name}`")]
    Read { name: String, source: io::Error },
    #[error("cannot write the result")]
    Write(#[from] io::Error),
    #[error("`{0}` is not the value of a field")]
    Field(String),
}

/// Something was found.
pub const FOUND: u8 = 3;

/// Runs the verb: reads, judges, writes; answers the exit code.
pub fn run(args: &ScanArgs, stdin: &mut dyn Read, out: &mut dyn Write) -> Result<u8, CommandError> {
    let own = args.scan_rules.as_deref().map(RulesFile::own).transpose()?;
    let scanner = Arc::new(Scanner::new(own, ExactValues::default()));
    if args.rules {
        if args.markdown {
            page::write(&scanner, out)?;
        } else {
            list(&scanner, args.json, out)?;
        }
        return Ok(0);
    }
    let except = scanner.exemptions(&args.except)?;
    let mut code = 0;
    for (name, text) in inputs(args, stdin)? {
        if let Err(finding) = judge(&scanner, args, except.clone(), &text)? {
            code = FOUND;
            report(&finding, &name, &text, args.json, out)?;
        }
    }
    Ok(code)
}

fn inputs(args: &ScanArgs, stdin: &mut dyn Read) -> Result<Vec<(String, Vec<u8>)>, CommandError> {
    if args.files.is_empty() {
        let mut text = Vec::new();
        stdin.read_to_end(&mut text).map_err(|source| CommandError::Read { name: "stdin".to_owned(), source })?;
        return Ok(vec![("stdin".to_owned(), text)]);
    }
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(text) => Ok((name, text)),
            Err(source) => Err(CommandError::Read { name, source }),
        }
    };
    args.files.iter().map(read).collect()
}

fn judge(
    scanner: &Arc<Scanner>,
    args: &ScanArgs,
    except: Exemptions,
    text: &[u8],
) -> Result<Result<(), Finding>, CommandError> {
    let lossy = || String::from_utf8_lossy(text).trim_end_matches(['\r', '\n']).to_owned();
    let head = |target: &str, fields: &HeaderMap| scanner.head(&Method::GET, "", target, fields, &except);
    Ok(match args.part {
        Part::Path => head(&lossy(), &HeaderMap::new()),
        Part::Query => head(&format!("?{}", lossy()), &HeaderMap::new()),
        Part::Header => head("", &fields(text)?),
        Part::Body => {
            let mut scan = scanner.content(&content_fields(args)?, except);
            scan.push(Bytes::copy_from_slice(text)).and_then(|_| scan.finish()).map(drop)
        }
    })
}

/// `name: value` lines; a line without a name is the value of a made-up field.
fn fields(text: &[u8]) -> Result<HeaderMap, CommandError> {
    let mut fields = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let named = line.iter().position(|byte| *byte == b':').and_then(|colon| {
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, line[colon + 1..].trim_ascii()))
        });
        let (name, value) = named.unwrap_or((HeaderName::from_static("x-field"), line));
        let value = HeaderValue::from_bytes(value).map_err(|_| CommandError::Field(name.to_string()))?;
        fields.append(name, value);
    }
    Ok(fields)
}

fn content_fields(args: &ScanArgs) -> Result<HeaderMap, CommandError> {
    let mut fields = HeaderMap::new();
    for (name, value) in
        [(header::CONTENT_TYPE, &args.content_type), (header::CONTENT_ENCODING, &args.content_encoding)]
    {
        if let Some(value) = value {
            let value = HeaderValue::from_str(value).map_err(|_| CommandError::Field(value.clone()))?;
            fields.insert(name, value);
        }
    }
    Ok(fields)
}

fn report(finding: &Finding, name: &str, text: &[u8], as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    let byte = match finding.place {
        Place::Content(byte) => Some(byte),
        _ => None,
    };
    if as_json {
        let layers: Vec<&str> = finding.layers.iter().map(|layer| layer.name()).collect();
        let line = json!({
            "file": name,
            "rule": finding.rule,
            "description": finding.description,
            "place": finding.place.to_string(),
            "byte": byte,
            "layers": layers,
            "chain": finding.chain(),
        });
        return writeln!(out, "{line}");
    }
    writeln!(out, "{finding}")?;
    let spot = byte.and_then(|byte| usize::try_from(byte).ok()).filter(|spot| *spot <= text.len());
    let Some(spot) = spot.filter(|_| finding.layers.is_empty()) else {
        return writeln!(out, " --> {name}");
    };
    let begin = text[..spot].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = text[..spot].iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&text[begin..spot]).chars().count() + 1;
    // What leads to the place, and nothing of what stands there.
    let before: String = String::from_utf8_lossy(&text[begin..spot])
        .chars()
        .rev()
        .take(60)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let before: String = before.chars().rev().collect();
    let margin = line.to_string().len();
    writeln!(out, "{:margin$}--> {name}:{line}:{column}", "")?;
    writeln!(out, "{line} | {before}[…]")?;
    writeln!(out, "{:margin$} | {:>width$}", "", "^", width = before.chars().count() + 1)
}

fn list(scanner: &Scanner, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    for rule in scanner.rules() {
        if as_json {
            let keywords: Vec<_> = rule.keywords().collect();
            let line = json!({
                "id": rule.id(),
                "group": rule.group(),
                "description": rule.description(),
                "source": rule.source(),
                "keywords": keywords,
                "regex": rule.expression(),
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{:32} {:18} {}", rule.id(), rule.group(), rule.description())?;
        }
    }
    Ok(())
}

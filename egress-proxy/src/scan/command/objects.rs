//! Git objects on a pipe, judged one by one: blobs, commits and tags as they are, of trees the names. What is not whole,
//! missing or in another form than expected is an error, never clean: git-gate lets nothing pass that was not read.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::{FOUND, Finding};
use crate::scan::{Exemptions, Scanner};

/// Why a stream of objects is not one.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    #[error("`{0}` does not announce an object")]
    Header(String),
    #[error("the object `{0}` is not whole")]
    Cut(String),
    #[error("the tree `{0}` cannot be read")]
    Tree(String),
    #[error("cannot read stdin or write the result")]
    Pipe(#[from] io::Error),
}

/// One object's announcement: `NAME TYPE SIZE PATH`.
struct Object {
    name: String,
    kind: String,
    size: u64,
    /// Where it is in the tree; empty for commits.
    path: String,
}

/// Judges every object of `git cat-file --batch`; the exit code.
pub(super) fn judge(
    scanner: &Arc<Scanner>,
    except: &Exemptions,
    as_json: bool,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<u8, ObjectsError> {
    let mut input = BufReader::with_capacity(PIECE, stdin);
    let mut code = 0;
    while let Some(object) = next(&mut input)? {
        if let Err(finding) = content(scanner, except, &object, &mut input)? {
            code = FOUND;
            report(&object, &shown(scanner, &object.path), &finding, as_json, out)?;
        }
    }
    Ok(code)
}

fn next(input: &mut impl BufRead) -> Result<Option<Object>, ObjectsError> {
    let mut line = Vec::new();
    if input.take(LONGEST_HEADER).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line);
    let object = line.strip_suffix('\n').and_then(|line| {
        let mut words = line.splitn(4, ' ');
        let (name, kind, size) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        let known = ["blob", "commit", "tag", "tree"].contains(&kind);
        known.then(|| Object {
            name: name.to_owned(),
            kind: kind.to_owned(),
            size,
            path: words.next().unwrap_or_default().to_owned(),
        })
    });
    object.map(Some).ok_or_else(|| ObjectsError::Header(printable(line.trim_end())))
}

/// Reads one object to its end, whatever is found in it.
fn content(
    scanner: &Arc<Scanner>,
    except: &Exemptions,
    object: &Object,
    input: &mut impl BufRead,
) -> Result<Result<(), Finding>, ObjectsError> {
    let mut scan = Some(scanner.content(&HeaderMap::new(), except.clone()));
    let mut verdict = Ok(());
    let mut push = |piece: Bytes| {
        if let Some(running) = &mut scan
            && let Err(finding) = running.push(piece)
        {
            verdict = Err(finding);
            scan = None;
        }
    };
    if object.kind == "tree" {
        let mut tree = Vec::new();
        input.take(object.size).read_to_end(&mut tree)?;
        let names = names(&tree, object.name.len() / 2).ok_or_else(|| ObjectsError::Tree(object.name.clone()))?;
        push(names.into());
    } else {
        let mut left = object.size;
        while left > 0 {
            let piece = input.fill_buf()?;
            let taken = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if taken == 0 {
                return Err(ObjectsError::Cut(object.name.clone()));
            }
            push(Bytes::copy_from_slice(&piece[..taken]));
            input.consume(taken);
            left -= taken as u64;
        }
    }
    let mut end = [0];
    match input.read_exact(&mut end) {
        Ok(()) if end == *b"\n" => {}
        _ => return Err(ObjectsError::Cut(object.name.clone())),
    }
    Ok(match scan {
        Some(mut running) => running.finish().map(drop),
        None => verdict,
    })
}

/// The names in a tree, one a line. An entry is a mode, a space, a name, NUL and an object's name of `width` bytes.
fn names(mut tree: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut names = Vec::new();
    while !tree.is_empty() {
        let end = tree.iter().position(|byte| *byte == 0)?;
        let space = tree[..end].iter().position(|byte| *byte == b' ')?;
        names.extend_from_slice(&tree[space + 1..end]);
        names.push(b'\n');
        tree = tree.get(end + 1 + width..)?;
    }
    Some(names)
}

fn report(object: &Object, path: &str, finding: &Finding, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    let Object { name, kind, .. } = object;
    if as_json {
        let line = json!({
            "object": name,
            "type": kind,
            "path": path,
            "rule": finding.rule,
            "description": finding.description,
            "place": finding.place.to_string(),
        });
        return writeln!(out, "{line}");
    }
    let short = &name[..name.len().min(SHORT_NAME)];
    match path {
        "" => writeln!(out, "{kind} {short}: {finding}"),
        path => writeln!(out, "{path} ({kind} {short}): {finding}"),
    }
}

/// A path as far as it may be told: one that holds a secret is not.
fn shown(scanner: &Arc<Scanner>, path: &str) -> String {
    let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
    let clean = scan.push(Bytes::copy_from_slice(path.as_bytes())).and_then(|_| scan.finish()).is_ok();
    if clean { printable(path) } else { String::new() }
}

/// What the agent wrote comes to somebody's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).take(200).collect()
}

const PIECE: usize = 64 << 10;
const LONGEST_HEADER: u64 = 16 << 10;
const SHORT_NAME: usize = 12;

//! False alarms: files as agents send them, in blocks, each judged alone.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use egress_proxy::scan::Scanner;

use crate::{
    cost::judge,
    material::{Go, files},
};

const BLOCK: usize = 8 << 10;
/// So much of each kind is judged.
const MOST: usize = 200 << 20;

/// By kind of file: bytes, blocks, and the blocks in which something was found.
#[derive(Default)]
pub struct Alarms(BTreeMap<&'static str, Kind>);

#[derive(Default)]
struct Kind {
    bytes: usize,
    blocks: usize,
    found: Vec<String>,
}

impl Alarms {
    pub fn count(scanner: &Arc<Scanner>, directories: impl Iterator<Item = PathBuf>) -> Self {
        let mut alarms = Self::default();
        for directory in directories {
            files(&directory, |path| {
                alarms.judge(scanner, path);
                Go::On
            });
        }
        alarms
    }

    fn judge(&mut self, scanner: &Arc<Scanner>, path: &Path) {
        let Some(name) = kind(path) else { return };
        let Ok(mut content) = fs::read(path) else { return };
        let kind = self.0.entry(name).or_default();
        if kind.bytes > MOST {
            return;
        }
        if name == IMAGES {
            content = BASE64_STANDARD.encode(content).into_bytes();
        }
        for (block, content) in content.chunks(BLOCK).enumerate() {
            kind.bytes += content.len();
            kind.blocks += 1;
            if let Some(finding) = judge(scanner, &Bytes::copy_from_slice(content)) {
                kind.found.push(format!("{}, block {block}: {finding}", path.display()));
            }
        }
    }
}

impl fmt::Display for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Blocks of 8 KiB in which something is found:\n\n| kind | MiB | blocks | found | per 100 MB |\n|---|---:|---:|---:|---:|"
        )?;
        let mut all = (0, 0, 0);
        for (name, Kind { bytes, blocks, found }) in &self.0 {
            line(f, name, *bytes, *blocks, found.len())?;
            all = (all.0 + bytes, all.1 + blocks, all.2 + found.len());
        }
        line(f, "all", all.0, all.1, all.2)?;
        writeln!(f)?;
        self.0.values().flat_map(|kind| &kind.found).try_for_each(|found| writeln!(f, "- {found}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, bytes: usize, blocks: usize, found: usize) -> fmt::Result {
    let rate = found as f64 * 1e8 / (bytes.max(1) as f64);
    writeln!(f, "| {name} | {} | {blocks} | {found} | {rate:.1} |", bytes >> 20)
}

const IMAGES: &str = "images and fonts as base64";

fn kind(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let extension = name.rsplit('.').next()?;
    Some(match extension {
        _ if name.ends_with(".min.js") || name.ends_with(".min.css") || name.ends_with(".min.mjs") => "minified",
        _ if name.contains("lock") && matches!(extension, "json" | "lock" | "yaml") => "lock files",
        "sum" => "lock files",
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "woff" | "woff2" | "ttf" | "ico" => IMAGES,
        "md" | "txt" | "html" | "rst" | "adoc" => "documentation",
        "map" => "source maps",
        "rs" | "go" | "js" | "mjs" | "cjs" | "ts" | "tsx" | "jsx" | "py" | "java" | "c" | "h" | "cc" | "cpp"
        | "hpp" | "css" | "scss" | "json" | "toml" | "yaml" | "yml" | "sh" | "s" | "proto" | "sql" | "rb" | "vue" => {
            "source"
        }
        _ => return None,
    })
}

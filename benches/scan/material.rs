//! What is read: real text in the forms in which agents send it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};

/// How much of each kind.
const SIZE: usize = 48 << 20;

pub struct Material {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Material {
    /// The kinds, made of the text files below a directory.
    pub fn all(root: &Path) -> [Material; 4] {
        let source = read(root);
        let chat = chat(&source);
        let minified = source.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let base64 = BASE64_STANDARD.encode(&source).into_bytes();
        [("source text", source), ("chat JSON", chat), ("minified", minified), ("base64", base64)]
            .map(|(name, bytes)| Material { name, bytes })
    }
}

/// Where Cargo keeps the sources of our dependencies.
pub fn crates() -> PathBuf {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    home.unwrap_or_default().join("registry/src")
}

/// Every file below a directory, in a fixed order.
pub fn files(root: &Path, mut each: impl FnMut(&Path) -> Go) {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let mut entries: Vec<_> =
            entries.flatten().filter_map(|entry| Some((entry.path(), entry.file_type().ok()?))).collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        for (path, kind) in entries {
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() && each(&path) == Go::Home {
                return;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Go {
    On,
    Home,
}

fn read(root: &Path) -> Vec<u8> {
    let mut text = Vec::with_capacity(SIZE);
    files(root, |path| {
        if let Ok(content) = fs::read_to_string(path) {
            text.extend_from_slice(content.as_bytes());
        }
        if text.len() < SIZE { Go::On } else { Go::Home }
    });
    text.truncate(SIZE);
    text
}

/// The text as a chat request carries it: an array of messages, each some thousand characters of text.
fn chat(text: &[u8]) -> Vec<u8> {
    let messages: Vec<_> = text
        .chunks(6000)
        .map(|part| serde_json::json!({"role": "user", "content": String::from_utf8_lossy(part)}))
        .collect();
    serde_json::to_vec(&serde_json::json!({"model": "m", "messages": messages})).unwrap_or_default()
}

//! Tar archives in memory, the same bytes for the same input: what is copied into images and containers travels as one.

use std::io;
use std::path::Path;

use tar::{Builder, EntryType, Header};

/// Who a file belongs to, by number: names mean nothing on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub user: u64,
    pub group: u64,
}

impl Owner {
    pub const ROOT: Self = Self { user: 0, group: 0 };
}

/// What a file is on the other side, but for its name and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub mode: u32,
    pub owner: Owner,
    /// Seconds since 1970. What is made here rather than copied has 0, so that the same content is the same archive.
    pub modified: u64,
}

impl Facts {
    pub fn new(mode: u32, owner: Owner) -> Self {
        Self { mode, owner, modified: 0 }
    }
}

pub struct Archive {
    builder: Builder<Vec<u8>>,
}

impl Default for Archive {
    fn default() -> Self {
        Self { builder: Builder::new(Vec::new()) }
    }
}

impl Archive {
    /// A regular file. `path` is relative to where the archive is unpacked; one that leads out of there is an error.
    pub fn file(&mut self, path: &str, facts: Facts, content: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Regular, facts);
        header.set_size(content.len() as u64);
        self.builder.append_data(&mut header, path, content)
    }

    pub fn folder(&mut self, path: &str, facts: Facts) -> io::Result<()> {
        let mut header = header(EntryType::Directory, facts);
        header.set_size(0);
        self.builder.append_data(&mut header, format!("{path}/"), io::empty())
    }

    /// A symbolic link, copied as it is: it may lead anywhere, for it is only followed on the other side.
    pub fn link(&mut self, path: &str, target: &Path, facts: Facts) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, facts);
        header.set_size(0);
        self.builder.append_link(&mut header, path, target)
    }

    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.builder.into_inner()
    }
}

fn header(kind: EntryType, facts: Facts) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(facts.mode);
    header.set_uid(facts.owner.user);
    header.set_gid(facts.owner.group);
    header.set_mtime(facts.modified);
    header
}

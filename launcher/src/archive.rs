//! Tar archives in memory, the same bytes for the same input: what is copied into images and containers travels as one.

use std::io;

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
    pub fn file(&mut self, path: &str, mode: u32, owner: Owner, content: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Regular, mode, owner);
        header.set_size(content.len() as u64);
        self.builder.append_data(&mut header, path, content)
    }

    pub fn folder(&mut self, path: &str, mode: u32, owner: Owner) -> io::Result<()> {
        let mut header = header(EntryType::Directory, mode, owner);
        header.set_size(0);
        self.builder.append_data(&mut header, format!("{path}/"), io::empty())
    }

    /// A symbolic link, copied as it is: it may lead anywhere, for it is only followed on the other side.
    pub fn link(&mut self, path: &str, target: &std::path::Path, owner: Owner) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, owner);
        header.set_size(0);
        self.builder.append_link(&mut header, path, target)
    }

    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.builder.into_inner()
    }
}

fn header(kind: EntryType, mode: u32, owner: Owner) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.user);
    header.set_gid(owner.group);
    header.set_mtime(0);
    header
}

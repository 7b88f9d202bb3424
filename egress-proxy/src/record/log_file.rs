//! `--log-file`: a file for its owner alone, which is rotated by size. A file that somebody moved or removed is noticed
//! before the next write, and a new one takes its place: whoever rotates from outside needs no signal.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// A file that has grown to so many bytes is set aside.
    pub size: u64,
    /// How many are kept beside the one that is written.
    pub keep: u32,
}

/// The log's file.
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    open: Option<Open>,
}

struct Open {
    file: File,
    written: u64,
    /// Device and inode, by which a file is known again.
    identity: (u64, u64),
}

impl LogFile {
    /// Opens the file, so that one that cannot be written is known at start.
    ///
    /// # Errors
    /// It cannot be opened for writing, or is no plain file.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let open = Open::at(path)?;
        Ok(Self { path: path.to_owned(), rotation, open: Some(open) })
    }

    /// To be called between two records: sets a full file aside, and looks whether the file is still where it was.
    ///
    /// # Errors
    /// There is no file that can be written.
    pub fn turn(&mut self) -> io::Result<()> {
        if let Some(open) = &self.open {
            let is_there = fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == open.identity);
            if !is_there {
                self.open = None;
            } else if open.written >= self.rotation.size {
                self.set_aside()?;
            }
        }
        if self.open.is_none() {
            self.open = Some(Open::at(&self.path)?);
        }
        Ok(())
    }

    /// `FILE` becomes `FILE.1`, that `FILE.2`, and the last goes.
    fn set_aside(&mut self) -> io::Result<()> {
        self.open = None;
        if self.rotation.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.rotation.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let open = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let written = open.file.write(bytes)?;
        open.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(OWNER_ONLY)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            // It may be older, and laxer.
            file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        }
        Ok(Self { written: metadata.len(), identity: identity(&metadata), file })
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

const OWNER_ONLY: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log: &mut LogFile, line: &str) {
        log.turn().unwrap();
        log.write_all(line.as_bytes()).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_set_aside_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, Rotation { size: 4, keep: 2 }).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            write(&mut log, line);
        }
        assert_eq!(names(folder.path()), ["log", "log.1", "log.2"]);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("log"), read("log.1"), read("log.2")), ("four\n".into(), "three\n".into(), "two\n".into()));
    }

    #[test]
    fn the_file_is_its_owners_alone_even_where_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mut log = LogFile::open(&path, Rotation { size: 1 << 20, keep: 1 }).unwrap();
        write(&mut log, "new\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, Rotation { size: 1 << 20, keep: 1 }).unwrap();
        write(&mut log, "one\n");
        fs::rename(&path, folder.path().join("moved")).unwrap();
        write(&mut log, "two\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        LogFile::open(&path, Rotation { size: 1, keep: 1 }).map(drop).unwrap_err();
    }
}

//! What records are written to, and in which form.

use std::io::{self, ErrorKind, Stdout, Write};

use super::{capture::Wish, har::HarFile, log_file::LogFile};

/// How a record looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// An archive, with what a record does not have.
    Har(Wish),
    Json,
    /// A line for people.
    Pretty,
}

/// One place where records go.
pub struct Output {
    pub format: Format,
    pub sink: Sink,
}

/// What records are written to.
pub enum Sink {
    File(LogFile),
    Har(HarFile),
    Stdout(Stdout),
}

impl Sink {
    /// Writes some of it; a file may only be turned between two lines.
    pub fn write(&mut self, bytes: &[u8], at_a_border: bool) -> io::Result<usize> {
        let written = match self {
            Self::Stdout(stdout) => {
                let written = stdout.write(bytes)?;
                stdout.flush()?;
                written
            }
            Self::Har(file) => {
                file.append(bytes)?;
                bytes.len()
            }
            Self::File(file) => {
                if at_a_border {
                    file.turn()?;
                }
                file.write(bytes)?
            }
        };
        if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(written) }
    }
}

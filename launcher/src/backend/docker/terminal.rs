//! This process's own terminal: its size, raw mode for as long as the agent has it, and what is typed. Never interprets a
//! byte.

use std::io::{self, IsTerminal as _, Read as _};
use std::thread;

use bytes::Bytes;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use super::engine::exec::{Console, WindowSize};

/// A terminal when both ends are one, else pipes.
pub(super) fn console() -> Console {
    if io::stdin().is_terminal() && io::stdout().is_terminal() { Console::Terminal(size()) } else { Console::Pipes }
}

pub(super) fn size() -> WindowSize {
    let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or(DEFAULT_SIZE, |size| WindowSize { columns: size.ws_col, rows: size.ws_row })
}

/// The terminal in raw mode; dropping it restores what was.
pub(super) struct RawMode {
    before: Termios,
}

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// What arrives on standard input; closed at its end. A thread of its own reads it, because a read from a terminal can be
/// neither cancelled nor awaited; it ends with the process.
pub(super) fn typed() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(TYPED_AHEAD);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut input = io::stdin().lock();
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
    });
    receiver
}

const DEFAULT_SIZE: WindowSize = WindowSize { columns: 80, rows: 24 };
const TYPED_AHEAD: usize = 16;

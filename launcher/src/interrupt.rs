//! Ctrl-C, SIGTERM and a closed terminal, as one request to tear down. From the moment of listening on they end no process.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Signal;

/// Listens for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// Cancelled by the first signal; the later ones change nothing.
    pub(crate) stop: CancellationToken,
    first: Arc<OnceLock<Signal>>,
}

impl Interrupts {
    /// Must be called inside a runtime.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupts = Self { stop: CancellationToken::new(), first: Arc::default() };
        for (kind, meaning) in [
            (SignalKind::hangup(), Signal::Hangup),
            (SignalKind::interrupt(), Signal::Interrupt),
            (SignalKind::terminate(), Signal::Terminate),
        ] {
            let mut signals = signal(kind)?;
            let (stop, first) = (interrupts.stop.clone(), interrupts.first.clone());
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    let _ = first.set(meaning); // only the first counts
                    stop.cancel();
                }
            });
        }
        Ok(interrupts)
    }

    /// The signal that came first, if one came.
    pub(crate) fn received(&self) -> Option<Signal> {
        self.first.get().copied()
    }
}

//! pipelock for tests: a stand-in that behaves as the recordings of v2.3.0 show, or the real one where `PIPELOCK_BIN`
//! names it, both behind a [`Wire`] that tests can hold, cut, mend and search.
//!
//! The stand-in is judged by `tests/interop`, which holds it against every recording; what those do not show, it
//! does not claim to do.

mod answer;
mod findings;
mod real;
mod request;
mod stand_in;
mod url;

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::proxy::Setup;
use crate::tap::Log;
use crate::wire::Wire;

pub use real::Real;
pub use stand_in::StandIn;

/// Whether answers of the inner face are scanned too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Mode `request`: they pass.
    Unscanned,
    /// Mode `exchange`.
    Scanned,
}

/// The one host that pipelock may dial, and where it is.
#[derive(Debug, Clone)]
pub struct Destination {
    pub host: String,
    /// None: the host is an address.
    pub address: Option<SocketAddr>,
}

impl Destination {
    /// An inner face on loopback, dialled by its address.
    pub fn loopback() -> Self {
        Self { host: "127.0.0.1".to_owned(), address: None }
    }
}

/// A pipelock and the wire to it.
pub struct Inspector {
    pub wire: Wire,
    pipelock: Pipelock,
}

enum Pipelock {
    StandIn(StandIn),
    Real(Box<Real>),
}

impl Inspector {
    /// The real one where `PIPELOCK_BIN` names it, else the stand-in.
    pub async fn start(answers: Answers) -> Self {
        match std::env::var_os("PIPELOCK_BIN") {
            Some(program) => Self::behind(Pipelock::Real(Box::new(Real::start(&program, answers).await))).await,
            None => Self::stand_in(answers).await,
        }
    }

    /// The stand-in, whatever the environment says.
    pub async fn stand_in(answers: Answers) -> Self {
        let pipelock = StandIn::start(Destination::loopback(), answers).await;
        Self::behind(Pipelock::StandIn(pipelock)).await
    }

    /// A proxy that asks this pipelock.
    pub fn asked_by(&self, setup: Setup) -> Setup {
        let url = format!("http://{}", self.wire.address());
        setup.arg("--inspect").arg(url).arg("--inspect-listen").arg("127.0.0.1:0")
    }

    /// Ends it in the middle of everything.
    pub async fn kill(&mut self) {
        match &mut self.pipelock {
            Pipelock::StandIn(_) => self.wire.cut().await,
            Pipelock::Real(real) => real.kill().await,
        }
    }

    /// Starts it where it was.
    pub async fn start_again(&mut self) {
        match &mut self.pipelock {
            Pipelock::StandIn(_) => self.wire.mend(),
            Pipelock::Real(real) => real.start_again().await,
        }
    }

    /// Stops it from doing anything.
    pub fn freeze(&self) {
        match &self.pipelock {
            Pipelock::StandIn(_) => self.wire.hold(),
            Pipelock::Real(real) => real.signal(Signal::STOP),
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        match &self.pipelock {
            Pipelock::StandIn(_) => self.wire.release(),
            Pipelock::Real(real) => real.signal(Signal::CONT),
        }
    }

    /// Gives it another configuration while it runs; the stand-in has none.
    pub async fn reconfigure(&self, answers: Answers) {
        if let Pipelock::Real(real) = &self.pipelock {
            real.reconfigure(answers).await;
        }
    }

    /// Every byte that was sent to pipelock.
    pub fn input(&self) -> &Log {
        self.wire.carried()
    }

    /// Every byte that pipelock answered.
    pub fn output(&self) -> &Log {
        self.wire.carried_back()
    }

    /// pipelock's own log; the stand-in keeps none.
    pub fn log(&self) -> String {
        match &self.pipelock {
            Pipelock::StandIn(_) => String::new(),
            Pipelock::Real(real) => real.log(),
        }
    }

    async fn behind(pipelock: Pipelock) -> Self {
        let address = match &pipelock {
            Pipelock::StandIn(stand_in) => stand_in.address(),
            Pipelock::Real(real) => real.address(),
        };
        Self { wire: Wire::to(address).await, pipelock }
    }
}

//! The proxy under load and in want: what takes longer than the tests of every day should. `make hardening` runs it, with
//! a release build of the proxy where `HARDENING_PROXY` names one. Everything is on loopback, bounded in count and time.

mod change;
mod load;
mod many;
mod stalled;
mod volume;

use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};

/// A made-up credential; its shape is one that scanners know.
const CREDENTIAL: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";

/// One origin, one proxy, one route between them.
struct Stage {
    origin: Origin,
    proxy: Proxy,
}

impl Stage {
    /// HTTPS at `api.localhost`, any port; `rest` is more of its route.
    async fn with(rest: &str, more: impl FnOnce(Setup) -> Setup) -> Self {
        let pki = Pki::new();
        let origin = Origin::https(&pki, "api.localhost").await;
        let setup = setup(&routes([&route(rest)])).trusting(&pki);
        Self { proxy: Proxy::start(more(setup)).await, origin }
    }
}

/// The route to `api.localhost`.
fn route(rest: &str) -> String {
    let comma = if rest.is_empty() { "" } else { ", " };
    format!("host: api.localhost, ports: any{comma}{rest}")
}

/// A proxy for this table, a release build where there is one.
fn setup(table: &str) -> Setup {
    let setup = Setup::new(table);
    match std::env::var("HARDENING_PROXY") {
        Ok(path) => setup.program(path),
        Err(_) => setup,
    }
}

const MIB: u64 = 1 << 20;

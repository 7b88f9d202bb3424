//! The proxy asking pipelock: what it is shown, whose refusal it is, and that nothing goes out without its yes.

mod answers;
mod attacks;
mod availability;
mod events;
mod load;
mod uploads;
mod verdicts;

use harness::client::Client;
use harness::origin::Origin;
use harness::origin::raw::RawOrigin;
use harness::pipelock::{Answers, Inspector};
use harness::pki::Pki;
use harness::proxy::{Json, Proxy, Setup, routes};

/// A made-up AWS key that pipelock knows.
const AWS_KEY: &str = "AKIAZ7QK2M4N6P5R3T6V";

/// A made-up credential that routes inject, of a shape that pipelock refuses wherever it sees it.
const CREDENTIAL: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";

/// An origin, a proxy whose only judge of content is pipelock, and pipelock.
struct Inspected {
    origin: Origin,
    proxy: Proxy,
    inspector: Inspector,
}

impl Inspected {
    /// Mode `request`.
    async fn start(rest: &str) -> Self {
        Self::asking(Inspector::start(Answers::Unscanned).await, "request", rest).await
    }

    /// Mode `exchange`: answers go through pipelock too.
    async fn exchanging(rest: &str) -> Self {
        Self::asking(Inspector::start(Answers::Scanned).await, "exchange", rest).await
    }

    async fn asking(inspector: Inspector, mode: &str, rest: &str) -> Self {
        let pki = Pki::new();
        let origin = Origin::https(&pki, "api.localhost").await;
        let comma = if rest.is_empty() { "" } else { ", " };
        let table = routes([&format!("host: api.localhost, ports: any{comma}{rest}")]);
        let setup = Setup::new(&table).trusting(&pki).env("TOKEN", CREDENTIAL).arg("--scan").arg("off");
        let setup = inspector.asked_by(setup).arg("--inspect-mode").arg(mode).arg("--admin").arg("127.0.0.1:0");
        let inspected = Self { origin, proxy: Proxy::start(setup).await, inspector };
        inspected.ready().await;
        inspected
    }

    /// Waits until the canaries have been through pipelock, so that what follows is the test's alone.
    async fn ready(&self) {
        let check = harness::programs::Program::tested("egress-proxy-under-test").args([
            "healthcheck",
            "--wait",
            "20",
            "--admin",
        ]);
        check.arg(self.proxy.admin().to_string()).run().await.output();
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    fn url(&self, path: &str) -> String {
        self.origin.url(path)
    }
}

/// The same with an origin that is only bytes.
async fn raw_origin(answer: &str) -> (RawOrigin, Proxy, Inspector) {
    let inspector = Inspector::start(Answers::Unscanned).await;
    let (origin, proxy) = raw_origin_behind(&inspector, "request", answer.as_bytes()).await;
    (origin, proxy, inspector)
}

async fn raw_origin_behind(inspector: &Inspector, mode: &str, answer: &[u8]) -> (RawOrigin, Proxy) {
    let pki = Pki::new();
    let origin = RawOrigin::tls(&pki, "raw.localhost", answer).await;
    let setup = Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki).arg("--scan").arg("off");
    let setup = inspector.asked_by(setup).arg("--inspect-mode").arg(mode);
    (origin, Proxy::start(setup).await)
}

/// Fails unless the record has all of these members with these values.
#[track_caller]
fn says(record: &Json, expected: Json) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&record[name], value, "`{name}` in {record}");
    }
}

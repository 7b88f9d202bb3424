//! The proxy seen from outside, at three ends: what the client got, what the origin saw, what the record says.
//!
//! Every test has its own PKI, origin and proxy process.

mod addresses;
mod authority;
mod corpus;
mod credentials;
mod debugging;
mod echo_guard;
mod fail_closed;
mod framing;
mod git;
mod granting;
mod grpc;
mod h2_abuse;
mod h2_origin;
mod har;
mod limits;
mod malformed;
mod names;
mod next_hop;
mod operation;
mod paths;
mod protocols;
mod records;
mod reload;
mod scan;
mod scan_answers;
mod scan_cuts;
mod start;
mod streaming;
mod upstream;
mod verbs;
mod web_socket;

use harness::client::Client;
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Json, Proxy, Setup, routes};

/// A made-up AWS key: what the built-in scan and pipelock both know.
const AWS_KEY: &str = "AKIAZ7QK2M4N6P5R3T6V";

/// A made-up credential that routes inject; its shape is one that scanners know.
const CREDENTIAL: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";

/// One origin, one proxy, one route between them.
struct Stage {
    origin: Origin,
    proxy: Proxy,
}

impl Stage {
    /// HTTPS at `api.localhost`, any port; `rest` is more of its route.
    async fn granting(rest: &str) -> Self {
        Self::with(rest, |setup| setup).await
    }

    /// The same, the route injecting [`CREDENTIAL`].
    async fn with_auth(auth: &str) -> Self {
        Self::with(&format!("auth: {{{auth}, token_env: TOKEN}}"), |setup| setup.env("TOKEN", CREDENTIAL)).await
    }

    /// The same, the proxy set up in some other way.
    async fn with(rest: &str, more: impl FnOnce(Setup) -> Setup) -> Self {
        let pki = Pki::new();
        let origin = Origin::https(&pki, "api.localhost").await;
        let setup = Setup::new(&routes([&route(rest)])).trusting(&pki);
        Self { proxy: Proxy::start(more(setup)).await, origin }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    fn url(&self, path: &str) -> String {
        self.origin.url(path)
    }

    /// The next exchange's record says this; the origin saw nothing at all.
    async fn was_refused(&mut self, expected: Json) {
        says(&self.proxy.exchange().await, expected);
        self.origin.saw_nothing();
    }
}

/// The route to `api.localhost`.
fn route(rest: &str) -> String {
    let comma = if rest.is_empty() { "" } else { ", " };
    format!("host: api.localhost, ports: any{comma}{rest}")
}

/// Fails unless the record has all of these members with these values.
#[track_caller]
fn says(record: &Json, expected: Json) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&record[name], value, "`{name}` in {record}");
    }
}

//! The real pipelock as an upstream proxy that intercepts: it ends our TLS inside its tunnel and begins its own.

use harness::client::post;
use harness::origin::Origin;
use harness::pipelock::Real;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use serde_json::json;

/// Nothing to do where there is no real pipelock: `make test` says in its last lines whether there was.
#[tokio::test]
async fn exchanges_go_through_pipelocks_own_interception_over_h2() {
    let Some(program) = std::env::var_os("PIPELOCK_BIN") else { return };
    let pki = Pki::new();
    let origin = Origin::https(&pki, "localhost").await;
    let pipelock = Real::intercepting(&program, &pki.pem()).await;
    let setup = Setup::new(&routes(["host: localhost, ports: any"])).arg("--scan").arg("off");
    let setup = setup.arg("--upstream").arg(format!("http://{}", pipelock.address()));
    let mut proxy = Proxy::start(setup.arg("--upstream-ca").arg(pipelock.authority())).await;
    for turn in 0..6 {
        let client = if turn % 2 == 0 { proxy.client() } else { proxy.client().h2() };
        let answer = client.send(post(&origin.url(&format!("/echo?turn={turn}")), "content")).await;
        answer.says(200, &[&format!("turn={turn}"), "content"]);
        let record = proxy.exchange().await;
        assert_eq!((&record["outcome"], &record["origin_protocol"]), (&json!("completed"), &json!("h2")), "{record}");
    }
    assert_eq!(origin.seen().arrivals().len(), 6);
    // Its verdict comes in the origin's place.
    let refused = proxy.client().send(post(&origin.url("/echo"), "take AKIAZ7QK2M4N6P5R3T6V")).await;
    refused.says(403, &["AWS Access ID"]);
    assert_eq!(origin.seen().arrivals().len(), 6);
}

//! pipelock down, frozen, slow and back again: no verdict, no way out.

use harness::client::get;
use harness::pipelock::{Answers, Inspector};
use harness::proxy::{Proxy, Setup, routes};
use serde_json::json;

use super::{Inspected, says};

#[tokio::test]
async fn while_pipelock_is_down_nothing_leaves_and_once_it_is_back_everything_does() {
    let mut inspected = Inspected::start("").await;
    inspected.inspector.wire.cut().await;
    let answer = inspected.client().get(&inspected.url("/echo")).await;
    assert!([502, 503].contains(&answer.status.as_u16()), "{}", answer.text());
    let record = inspected.proxy.exchange().await;
    says(&record, json!({"outcome": "failed"}));
    assert_ne!(record["by"], "pipelock", "a failure is no verdict");
    inspected.origin.saw_nothing();

    inspected.inspector.wire.mend();
    inspected.client().get(&inspected.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn a_frozen_pipelock_is_waited_for_until_the_deadline() {
    let mut inspected = Inspected::start("").await;
    inspected.inspector.wire.hold();
    let answer = inspected.client().get(&inspected.url("/echo")).await;
    answer.says(504, &["record: "]);
    says(&inspected.proxy.exchange().await, json!({"outcome": "failed", "error": "inspector_timeout"}));
    inspected.origin.saw_nothing();

    // What it says too late opens nothing any more.
    inspected.inspector.wire.release();
    inspected.client().get(&inspected.url("/echo?second")).await.says(200, &[]);
    assert_eq!(inspected.origin.seen().arrivals().len(), 1);
}

#[tokio::test]
async fn a_slow_pipelock_is_waited_for() {
    let inspected = Inspected::start("").await;
    inspected.inspector.wire.hold();
    let (client, url) = (inspected.client(), inspected.url("/echo?slow"));
    let asking = tokio::spawn(async move { client.get(&url).await });
    inspected.inspector.input().saw("/echo?slow").await;
    inspected.origin.saw_nothing();
    inspected.inspector.wire.release();
    asking.await.expect("no panic").says(200, &[]);
}

#[tokio::test]
async fn a_client_that_leaves_while_pipelock_thinks_sends_nothing() {
    let mut inspected = Inspected::start("").await;
    inspected.inspector.wire.hold();
    let (client, url) = (inspected.client(), inspected.url("/echo?left"));
    let asking = tokio::spawn(async move { client.try_send(get(&url)).await });
    inspected.inspector.input().saw("/echo?left").await;
    asking.abort();
    let _ = asking.await;
    says(&inspected.proxy.exchange().await, json!({"outcome": "aborted"}));
    inspected.inspector.wire.release();
    inspected.client().get(&inspected.url("/echo?next")).await.says(200, &[]);
    let targets: Vec<_> = inspected.origin.seen().arrivals().iter().map(|arrival| arrival.target.clone()).collect();
    assert_eq!(targets, ["/echo?next"]);
}

#[tokio::test]
async fn a_connection_that_pipelock_closed_is_replaced() {
    let mut inspected = Inspected::start("").await;
    inspected.client().get(&inspected.url("/echo")).await.says(200, &[]);
    inspected.inspector.wire.cut().await;
    inspected.inspector.wire.mend();
    inspected.client().get(&inspected.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn readiness_needs_a_pipelock_that_refuses_and_one_that_lets_pass() {
    let mut inspector = Inspector::start(Answers::Unscanned).await;
    inspector.wire.cut().await;
    let setup = inspector.asked_by(Setup::new(&routes([]))).arg("--admin").arg("127.0.0.1:0");
    let proxy = Proxy::start(setup).await;
    assert_ne!(ready(&proxy).await, 200, "nobody has judged a canary");
    inspector.wire.mend();
    let check =
        harness::programs::Program::tested("egress-proxy-under-test").args(["healthcheck", "--wait", "20", "--admin"]);
    check.arg(proxy.admin().to_string()).run().await.output();
    assert_eq!(ready(&proxy).await, 200);
}

async fn ready(proxy: &Proxy) -> u16 {
    let mut raw = harness::client::Client::new(proxy.admin(), "").raw().await;
    raw.send("GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    raw.answer().await.head.status()
}

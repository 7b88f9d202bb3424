//! What runs out or goes away: nothing leaves that could not be judged, credentialed and recorded, and what is under way
//! goes on.

use harness::client::{Client, get, post, with};
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http_body_util::BodyExt;
use rustix::process::Signal;
use serde_json::json;

use crate::{CREDENTIAL, Stage, route, says};

#[tokio::test]
async fn descriptors_that_run_out_make_new_clients_wait_and_end_nothing() {
    let stage = Stage::granting("").await;
    let response = stage.client().open(get(&stage.url("/feed"))).await.expect("an answer");
    let mut body = response.into_body();
    stage.proxy.limit_descriptors(stage.proxy.descriptors() + 4);
    let mut crowd = Vec::new();
    for _ in 0..32 {
        crowd.push(stage.client().raw().await);
    }
    stage.origin.feed("data: 1\n\n");
    within("an event", body.frame()).await.expect("open").expect("no failure");
    drop(crowd);
    stage.client().get("http://_egress-proxy.local/allowlist").await.says(200, &[]);
    stage.origin.feed("data: 2\n\n");
    within("an event", body.frame()).await.expect("open").expect("no failure");
}

#[tokio::test]
async fn an_origin_that_no_descriptor_is_left_for_is_a_failure_on_record() {
    let mut stage = Stage::granting("").await;
    let mut session = stage.client().session(&stage.origin.authority()).await.expect("a tunnel");
    stage.proxy.limit_descriptors(0);
    let answer = session.send(get(&stage.url("/echo"))).await.expect("an answer");
    assert_eq!(answer.status.as_u16(), 502, "{}", answer.text());
    says(&stage.proxy.exchange().await, json!({"outcome": "failed"}));
    stage.origin.saw_nothing();
    stage.proxy.limit_descriptors(1024);
    session.send(get(&stage.url("/echo"))).await.expect("an answer").says(200, &[]);
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_lets_no_exchange_begin() {
    let mut stage = Stage::with("", |setup| setup.arg("--admin").arg("127.0.0.1:0")).await;
    stage.proxy.close_records();
    let mut session = stage.client().session(&stage.origin.authority()).await.expect("a tunnel");
    // The first records are what tells the proxy that its pipe is broken.
    let refused = async {
        loop {
            let answer = session.send(get(&stage.url("/echo"))).await.expect("an answer");
            if answer.status == 503 {
                return answer;
            }
        }
    };
    within("a refusal", refused).await.says(503, &["log"]);
    let seen = stage.origin.seen().arrivals().len();
    session.send(get(&stage.url("/echo"))).await.expect("an answer").says(503, &["log"]);
    assert_eq!(stage.origin.seen().arrivals().len(), seen);
    let mut raw = Client::new(stage.proxy.admin(), "").raw().await;
    raw.send("GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    assert_eq!(raw.answer().await.head.status(), 503);
}

#[tokio::test]
async fn a_credential_file_that_disappears_refuses_its_route_until_it_returns() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let files = Setup::bare();
    files.write("token", CREDENTIAL);
    let auth = format!("auth: {{scheme: Bearer, token_file: {}}}", files.path("token"));
    let mut proxy = Proxy::start(Setup::new(&routes([&route(&auth)])).trusting(&pki)).await;
    std::fs::remove_file(files.path("token")).expect("it was there");
    proxy.event("routes.reloaded").await;
    proxy.client().get(&origin.url("/echo")).await.says(503, &["credential"]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "error": "credential_missing"}));
    origin.saw_nothing();
    files.write("token", CREDENTIAL);
    proxy.event("routes.reloaded").await;
    proxy.client().get(&origin.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn a_credential_that_was_rotated_out_is_still_refused_from_an_agent() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let files = Setup::bare();
    files.write("token", CREDENTIAL);
    let auth = format!("auth: {{scheme: Bearer, token_file: {}}}", files.path("token"));
    let mut proxy = Proxy::start(Setup::new(&routes([&route(&auth)])).trusting(&pki)).await;
    for next in ["another-credential-0123456789", "a-third-credential-0123456789"] {
        files.write("token", next);
        proxy.signal(Signal::HUP);
        proxy.event("routes.reloaded").await;
    }
    for former in [CREDENTIAL, "another-credential-0123456789"] {
        proxy.client().send(with(get(&origin.url("/echo")), "x-other", former)).await.says(403, &["credential"]);
        let record = proxy.exchange().await;
        says(&record, json!({"error": "credential_sent", "alarm": true}));
        proxy.client().send(post(&origin.url("/echo"), former)).await.says(403, &[]);
        says(&proxy.exchange().await, json!({"error": "secret_found", "alarm": true}));
    }
    origin.saw_nothing();
}

#[tokio::test]
async fn routes_from_a_file_and_from_stdin_are_an_error() {
    let table = json!({"routes": {"routes": []}}).to_string();
    let setup = Setup::new(&routes([]));
    let file = setup.path("routes.yaml");
    let ended = Proxy::try_start(setup.arg("--routes").arg(file).stdin(&table)).await.err().expect("no start");
    ended.says(125, &["--routes", "stdin", "one of the two"]);

    let setup = Setup::new(&routes(["host: api.localhost"]));
    let file = setup.path("routes.yaml");
    let tokens = json!({"tokens": {"T": CREDENTIAL}}).to_string();
    let mut proxy = Proxy::start(setup.arg("--routes").arg(file).stdin(&tokens)).await;
    proxy.write_line(&table).await;
    let event = proxy.event("routes.rejected").await;
    assert!(event.to_string().contains("one of the two"), "{event}");
    proxy.client().get("http://_egress-proxy.local/allowlist").await.says(200, &["api.localhost"]);
}

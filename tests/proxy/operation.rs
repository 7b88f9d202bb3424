//! Living with the proxy: health, introspection, and an end that cuts nothing short.

use harness::client::{Client, get};
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http_body_util::BodyExt;
use rustix::process::Signal;
use serde_json::json;

use crate::{CREDENTIAL, Stage, says};

#[tokio::test]
async fn health_and_readiness_are_told_on_the_admin_listener() {
    let proxy = Proxy::start(Setup::new(&routes([])).arg("--admin").arg("127.0.0.1:0")).await;
    let admin = Client::new(proxy.admin(), "");
    for path in ["/healthz", "/readyz"] {
        let mut raw = admin.raw().await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n")).await;
        assert_eq!(raw.answer().await.head.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn the_healthcheck_verb_asks_a_running_proxy() {
    let proxy = Proxy::start(Setup::new(&routes([])).arg("--admin").arg("127.0.0.1:0")).await;
    let check = harness::programs::Program::tested("egress-proxy-under-test").arg("healthcheck");
    let ran = check.args(["--wait", "5", "--admin"]).arg(proxy.admin().to_string()).run().await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[tokio::test]
async fn the_canary_verb_tells_a_scan_that_refuses_from_one_that_is_silent_and_from_nobody() {
    for (mode, code, words) in [("block", 0, ""), ("off", 3, "was not refused by the scan")] {
        let table = routes(["host: api.localhost"]);
        let setup = Setup::new(&table).arg("--scan").arg(mode).arg("--admin").arg("127.0.0.1:0");
        let proxy = Proxy::start(setup).await;
        let ran = canary(&proxy.admin().to_string(), &proxy.address().to_string(), &proxy.ca_pem()).await;
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let ran = canary("127.0.0.1:1", "127.0.0.1:1", "").await;
    assert_eq!(ran.code, Some(125), "{}", ran.stderr);
    assert!(ran.stderr.contains("the proxy at 127.0.0.1:1 is not ready"), "{}", ran.stderr);
}

async fn canary(admin: &str, proxy: &str, ca: &str) -> harness::programs::Ran {
    let verb = harness::programs::Program::tested("egress-proxy-under-test").arg("canary");
    let ca = format!("--ca={ca}");
    verb.args(["--admin", admin, "--proxy", proxy, &ca, "https://api.localhost/"]).run().await
}

#[tokio::test]
async fn the_verb_routes_live_prints_the_table_in_force_and_no_value() {
    let route = "host: api.localhost, auth: {scheme: Bearer, token_env: TOKEN}";
    let setup = Setup::new(&routes([route])).env("TOKEN", CREDENTIAL).arg("--admin").arg("127.0.0.1:0");
    let proxy = Proxy::start(setup).await;
    let live = harness::programs::Program::tested("egress-proxy-under-test").args(["routes", "live", "--admin"]);
    let ran = live.arg(proxy.admin().to_string()).run().await;
    let table: serde_json::Value = serde_json::from_str(ran.output()).expect("JSON");
    assert_eq!(table["routes"][0]["auth"]["token_env"], "TOKEN");
    assert!(!ran.output().contains(CREDENTIAL), "{}", ran.output());
}

#[tokio::test]
async fn the_live_table_can_be_read_through_the_proxy_and_holds_no_value() {
    let rest = "path_allowlist: [/user], auth: {scheme: Bearer, token_env: TOKEN}";
    let stage = Stage::with(rest, |setup| setup.env("TOKEN", CREDENTIAL)).await;
    let answer = stage.client().get("http://_egress-proxy.local/allowlist").await;
    answer.says(200, &["api.localhost", "/user", "TOKEN"]);
    assert!(!answer.text().contains(CREDENTIAL), "{}", answer.text());
    assert!(answer.json().is_object(), "{}", answer.text());
    stage.client().get("http://_egress-proxy.local/other").await.says(404, &[]);
}

#[tokio::test]
async fn sigterm_lets_exchanges_finish_and_takes_no_new_ones() {
    let stage = Stage::granting("").await;
    let response = stage.client().open(get(&stage.url("/feed"))).await.expect("an answer");
    let client = stage.client();
    let mut body = response.into_body();
    stage.origin.feed("data: 1\n\n");
    within("the first event", body.frame()).await.expect("open").expect("no failure");
    let mut proxy = stage.proxy;
    proxy.signal(Signal::TERM);
    proxy.event("proxy.draining").await;
    client.try_send(get(&stage.origin.url("/echo"))).await.expect_err("no new connection is taken");
    stage.origin.feed("data: 2\n\n");
    stage.origin.end_feed();
    let rest = within("the rest", body.collect()).await.expect("cut by the end of the proxy").to_bytes();
    assert_eq!(&rest[..], b"data: 2\n\n");
    says(&proxy.exchange().await, json!({"outcome": "completed"}));
    let ended = proxy.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn draining_ends_after_the_time_it_was_given() {
    let stage = Stage::with("", |setup| setup.arg("--drain-seconds").arg("0")).await;
    let response = stage.client().open(get(&stage.url("/feed"))).await.expect("an answer");
    let ended = stage.proxy.stop().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("\"aborted\""), "the open exchange is recorded: {}", ended.stdout);
    within("the end", response.into_body().collect()).await.expect_err("it was cut");
}

#[tokio::test]
async fn every_exchange_leaves_exactly_one_record() {
    let stage = Stage::granting("path_allowlist: [/echo]").await;
    let mut session = stage.client().session(&stage.origin.authority()).await.expect("a tunnel");
    for path in ["/echo", "/denied", "/echo/x"] {
        session.send(get(&stage.url(path))).await.expect("an answer");
    }
    drop(session);
    let ended = stage.proxy.stop().await;
    let exchanges = ended.stdout.lines().filter(|line| line.contains("\"kind\":\"exchange\"")).count();
    let tunnels = ended.stdout.lines().filter(|line| line.contains("\"kind\":\"tunnel\"")).count();
    assert_eq!((exchanges, tunnels), (3, 1), "{}", ended.stdout);
}

#[tokio::test]
async fn a_record_holds_no_query_field_or_content() {
    let mut stage = Stage::granting("").await;
    let request = harness::client::with(
        harness::client::post(&stage.url("/echo?question=whatever"), "some content"),
        "x-mark",
        "some value",
    );
    stage.client().send(request).await.says(200, &[]);
    let record = stage.proxy.exchange().await.to_string();
    for text in ["question", "whatever", "some value", "some content"] {
        assert!(!record.contains(text), "`{text}` in {record}");
    }
}

#[tokio::test]
async fn a_tunnel_keeps_its_clients_seat() {
    let stage = Stage::with("", |setup| setup.arg("--max-connections").arg("1")).await;
    let mut first = stage.client().session(&stage.origin.authority()).await.expect("a tunnel");
    first.send(get(&stage.url("/echo"))).await.expect("an answer").says(200, &[]);
    let (client, url) = (stage.client(), stage.url("/second"));
    let second = tokio::spawn(async move { client.get(&url).await });
    // The second client waits, however much the first one does.
    for _ in 0..50 {
        first.send(get(&stage.url("/echo"))).await.expect("an answer").says(200, &[]);
    }
    assert!(!stage.origin.seen().arrivals().iter().any(|arrival| arrival.target == "/second"));
    drop(first);
    within("a seat", second).await.expect("no panic").says(200, &[]);
}

//! The built-in scan at work in the proxy: what it finds does not leave, wherever it stands.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use harness::client::{Client, get, post, with};
use harness::h1::find;
use harness::origin::End;
use harness::proxy::{Proxy, Setup};
use harness::within;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{AWS_KEY, CREDENTIAL, Stage, says};

type Place = fn(&Stage) -> Request<harness::origin::Content>;

const PLACES: [(&str, Place); 13] = [
    ("query", |stage| get(&stage.url(&format!("/echo?k={AWS_KEY}")))),
    ("query, percent-encoded", |stage| get(&stage.url(&format!("/echo?k={}", AWS_KEY.replace('A', "%41"))))),
    ("path", |stage| get(&stage.url(&format!("/{AWS_KEY}/x")))),
    ("field value", |stage| with(get(&stage.url("/echo")), "x-other", AWS_KEY)),
    ("field name", |stage| {
        let mut request = get(&stage.url("/echo"));
        let name = format!("x-{AWS_KEY}").parse().expect("a field name");
        request.headers_mut().insert::<http::HeaderName>(name, HeaderValue::from_static("1"));
        request
    }),
    ("cookie", |stage| with(get(&stage.url("/echo")), "cookie", &format!("theme=dark; k={AWS_KEY}"))),
    ("gzip", |stage| {
        let mut coder = GzEncoder::new(Vec::new(), Compression::default());
        coder.write_all(format!("key: {AWS_KEY}").as_bytes()).expect("memory takes everything");
        let coded = coder.finish().expect("memory takes everything");
        with(post(&stage.url("/echo"), coded), "content-encoding", "gzip")
    }),
    ("form", |stage| {
        let content = format!("a=1&k={}", AWS_KEY.replace('K', "%4B"));
        with(post(&stage.url("/echo"), content), "content-type", "application/x-www-form-urlencoded")
    }),
    ("user agent", |stage| with(get(&stage.url("/echo")), "user-agent", AWS_KEY)),
    ("text", |stage| with(post(&stage.url("/echo"), format!("key: {AWS_KEY}\n")), "content-type", "text/plain")),
    ("untyped content", |stage| post(&stage.url("/echo"), AWS_KEY)),
    ("JSON", |stage| {
        let content = json!({"messages": [{"text": format!("a {AWS_KEY} b")}]}).to_string();
        with(post(&stage.url("/echo"), content), "content-type", "application/json")
    }),
    ("JSON with escapes", |stage| {
        let content = format!("{{\"k\": \"\\u0041{}\"}}", &AWS_KEY[1..]);
        with(post(&stage.url("/echo"), content), "content-type", "application/json")
    }),
];

#[tokio::test]
async fn a_secret_is_blocked_wherever_it_stands() {
    for (place, request) in PLACES {
        let mut stage = Stage::granting("").await;
        let answer = stage.client().send(request(&stage)).await;
        assert_eq!(answer.status.as_u16(), 403, "{place}: {}", answer.text());
        assert!(answer.text().contains("scan"), "{place}: {}", answer.text());
        assert!(!answer.text().contains(AWS_KEY), "{place}: {}", answer.text());
        let record = stage.proxy.exchange().await;
        says(&record, json!({"outcome": "blocked", "by": "scan"}));
        assert!(!record.to_string().contains(AWS_KEY), "{place}: {record}");
        assert!(!record["findings"].as_array().expect("findings").is_empty(), "{place}: {record}");
        stage.origin.saw_nothing();
    }
}

#[tokio::test]
async fn a_secret_in_a_label_of_the_host_is_blocked_before_it_is_looked_up() {
    let table = harness::proxy::routes([r#"host: "*.wild.invalid""#]);
    let mut proxy = Proxy::start(Setup::new(&table)).await;
    let label: String = AWS_KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    proxy.client().get(&format!("https://{label}.wild.invalid/")).await.says(403, &["scan"]);
    says(&proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
}

#[tokio::test]
async fn a_secret_in_base64_is_blocked() {
    let mut stage = Stage::granting("").await;
    let content = format!("data: {}", STANDARD.encode(format!("aws_access_key_id = {AWS_KEY}")));
    stage.client().send(post(&stage.url("/echo"), content)).await.says(403, &["scan"]);
    stage.was_refused(json!({"outcome": "blocked"})).await;
}

#[tokio::test]
async fn a_secret_in_trailers_is_blocked() {
    let mut stage = Stage::granting("").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static(AWS_KEY));
    let frames = [Ok(Frame::data(Bytes::from_static(b"content"))), Ok(Frame::trailers(trailers))];
    let content = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let request = Request::post(stage.url("/echo")).body(content).expect("a request");
    // Content of unknown length is on its way when its trailers come: the exchange ends, and the key stays here.
    let _ = stage.client().h2().try_send(request).await;
    says(&stage.proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
    assert!(stage.origin.received().iter().all(|bytes| find(bytes, AWS_KEY.as_bytes()).is_none()));
}

#[tokio::test]
async fn a_secret_at_the_end_of_long_content_never_leaves_whole() {
    let mut stage = Stage::granting("").await;
    let content = format!("{} {AWS_KEY} ", "all work and no play ".repeat(100_000));
    let _ = stage.client().try_send(post(&stage.url("/upload"), content)).await;
    says(&stage.proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
    assert!(stage.origin.received().iter().all(|bytes| find(bytes, AWS_KEY.as_bytes()).is_none()));
    for arrival in stage.origin.seen().arrivals() {
        let received = arrival.received().await;
        assert_eq!(received.end, End::Broken, "the origin took cut content for whole");
    }
}

#[tokio::test]
async fn a_secret_that_follows_after_the_origin_has_answered_is_blocked() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let mut stage = Stage::granting("").await;
        let (pieces, mut written) = mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::poll_fn(move |cx| {
            written.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        });
        let content = StreamBody::new(frames).boxed_unsync();
        let request = Request::post(stage.url("/feed")).body(content).expect("a request");
        let client = client(stage.client());
        pieces.send(Bytes::from(vec![b' '; 64 * 1024])).await.expect("the client reads");
        let response = client.open(request).await.expect("the origin answers at once");
        pieces.send(Bytes::from(format!("take {AWS_KEY} now"))).await.expect("the client reads");
        drop(pieces);
        within("the end of the answer", response.into_body().collect()).await.expect_err("cut, not ended");
        says(&stage.proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
        let arrival = stage.origin.next_arrival().await;
        assert_eq!(arrival.received().await.end, End::Broken);
        assert!(stage.origin.received().iter().all(|bytes| find(bytes, AWS_KEY.as_bytes()).is_none()));
    }
}

#[tokio::test]
async fn a_route_may_record_instead_of_block() {
    let mut stage = Stage::granting("scan: record").await;
    stage.client().send(post(&stage.url("/echo"), AWS_KEY)).await.says(200, &[AWS_KEY]);
    let record = stage.proxy.exchange().await;
    says(&record, json!({"outcome": "completed"}));
    assert!(!record["findings"].as_array().expect("findings").is_empty(), "{record}");
}

#[tokio::test]
async fn a_credential_behind_a_recorded_finding_is_refused_all_the_same() {
    let rest = "auth: {scheme: Bearer, token_env: TOKEN}, scan: record";
    let mut stage = Stage::with(rest, |setup| setup.env("TOKEN", CREDENTIAL)).await;
    let twice = STANDARD.encode(STANDARD.encode(format!("token: {CREDENTIAL}, and more")));
    for credential in [CREDENTIAL, &twice] {
        let content = format!("{AWS_KEY} and {credential}");
        let unreadable = with(post(&stage.url("/echo"), content.clone()), "content-encoding", "compress");
        let mut head = with(get(&stage.url("/echo")), "x-first", AWS_KEY);
        head.headers_mut().insert("x-second", credential.parse().expect("a value"));
        for request in [post(&stage.url("/echo"), content), unreadable, head] {
            stage.client().send(request).await.says(403, &[]);
            stage.was_refused(json!({"status": 403, "alarm": true})).await;
        }
    }
    let frames = [format!("{AWS_KEY} and "), " ".repeat(9000), twice, " ".repeat(9000)];
    let frames = frames.map(|piece| Ok(Frame::data(Bytes::from(piece))));
    let content = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let request = Request::post(stage.url("/upload")).body(content).expect("a request");
    stage.client().send(request).await.says(403, &[]);
    let record = stage.proxy.exchange().await;
    says(&record, json!({"outcome": "blocked", "alarm": true}));
    assert_eq!(record["findings"].as_array().expect("findings").len(), 2, "{record}");
    assert_eq!(stage.origin.next_arrival().await.received().await.end, End::Broken);
}

#[tokio::test]
async fn a_route_may_turn_the_scan_off() {
    let stage = Stage::granting("scan: off").await;
    stage.client().send(post(&stage.url("/echo"), AWS_KEY)).await.says(200, &[AWS_KEY]);
}

#[tokio::test]
async fn the_proxy_may_turn_the_scan_off_where_a_route_says_nothing() {
    let off = Stage::with("", |setup| setup.arg("--scan").arg("off")).await;
    off.client().send(post(&off.url("/echo"), AWS_KEY)).await.says(200, &[]);
    let on = Stage::with("scan: block", |setup| setup.arg("--scan").arg("off")).await;
    on.client().send(post(&on.url("/echo"), AWS_KEY)).await.says(403, &["scan"]);
}

#[tokio::test]
async fn a_private_key_is_blocked() {
    let mut stage = Stage::granting("").await;
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(8);
    let content = format!("-----BEGIN PRIVATE KEY-----\n{line}-----END PRIVATE KEY-----\n");
    stage.client().send(post(&stage.url("/echo"), content)).await.says(403, &["private-key"]);
    stage.was_refused(json!({"outcome": "blocked"})).await;
}

#[tokio::test]
async fn an_agents_usual_traffic_passes() {
    let stage = Stage::granting("").await;
    let content = json!({
        "model": "claude-example", "max_tokens": 1024, "stream": true,
        "messages": [{"role": "user", "content": "Read src/main.rs, then fix the test that fails on line 42."}],
        "metadata": {"user_id": "8f14e45f-ceea-467f-a0c9-3d3b5a1c9d11"},
    });
    let request = with(post(&stage.url("/v1/messages"), content.to_string()), "content-type", "application/json");
    let request = with(with(request, "anthropic-version", "2023-06-01"), "x-stainless-lang", "js");
    stage.client().send(request).await.says(200, &["claude-example"]);
}

#[tokio::test]
async fn content_that_cannot_be_read_is_blocked_and_the_client_reads_what_can_be() {
    let mut stage = Stage::granting("").await;
    let request = with(post(&stage.url("/echo"), "x"), "content-encoding", "compress");
    let answer = stage.client().send(request).await;
    answer.says(403, &["`compress` cannot be read", "gzip, deflate, br or zstd"]);
    assert!(!answer.text().contains("scan_except"), "{}", answer.text());
    stage.was_refused(json!({"outcome": "blocked", "by": "scan"})).await;
}

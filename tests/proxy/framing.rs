//! What belongs to one connection stays on it; what belongs to the message goes through.

use harness::client::{get, with};
use harness::h1::from_latin1;
use harness::origin::raw::RawOrigin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use serde_json::json;

use crate::{Stage, says};

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_are_not_forwarded() {
    let (mut origin, proxy) = raw("HTTP/1.1 204 No Content\r\n\r\n").await;
    let authority = origin.authority();
    let mut inside = proxy.client().raw_inside(&authority).await;
    inside
        .send(format!(
            "GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: X-Drop, keep-alive\r\nX-Drop: 1\r\nKeep-Alive: 5\r\n\
             Proxy-Connection: keep-alive\r\nTE: trailers, deflate\r\nProxy-Authorization: Basic eDp5\r\nX-Stay: 1\r\n\r\n"
        ))
        .await;
    assert_eq!(inside.answer().await.head.status(), 204);
    let request = origin.request().await;
    for name in ["x-drop", "keep-alive", "proxy-connection", "proxy-authorization"] {
        assert_eq!(request.head().field(name), None, "{}", from_latin1(&request.bytes));
    }
    assert_ne!(request.head().field("te"), Some("trailers, deflate"));
    assert_eq!(request.head().field("x-stay"), Some("1"));
}

#[tokio::test]
async fn hop_by_hop_fields_and_alt_svc_of_an_answer_are_not_forwarded() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Drop\r\nX-Drop: 1\r\nKeep-Alive: timeout=5\r\nAlt-Svc: h3=\":443\"\r\n\
                  Proxy-Authenticate: Basic\r\nX-Stay: 1\r\nContent-Length: 2\r\n\r\nok";
    let (origin, proxy) = raw(answer).await;
    let answer = proxy.client().get(&format!("https://{}/", origin.authority())).await;
    answer.says(200, &["ok"]);
    for name in ["x-drop", "keep-alive", "alt-svc", "proxy-authenticate"] {
        assert!(!answer.fields.contains_key(name), "{:?}", answer.fields);
    }
    assert_eq!(answer.field("x-stay"), "1");
}

#[tokio::test]
async fn repeated_fields_stay_repeated_and_in_order() {
    let stage = Stage::granting("").await;
    let request = with(with(get(&stage.url("/echo")), "x-list", "one"), "x-list", "two, three");
    stage.client().send(request).await.says(200, &[]);
    assert_eq!(stage.origin.next_arrival().await.values("x-list"), ["one", "two, three"]);
}

#[tokio::test]
async fn a_field_may_hold_bytes_beyond_ascii() {
    let (mut origin, proxy) = raw("HTTP/1.1 204 No Content\r\n\r\n").await;
    let authority = origin.authority();
    let mut inside = proxy.client().raw_inside(&authority).await;
    inside
        .send(harness::h1::latin1(&format!("GET / HTTP/1.1\r\nHost: {authority}\r\nX-Name: caf\u{e9}\r\n\r\n")))
        .await;
    assert_eq!(inside.answer().await.head.status(), 204);
    assert_eq!(origin.request().await.head().field("x-name"), Some("caf\u{e9}"));
}

#[tokio::test]
async fn trailers_of_an_answer_reach_the_client() {
    let stage = Stage::granting("").await;
    let over_h2 = stage.client().h2().get(&stage.url("/trailers")).await;
    assert_eq!(over_h2.trailers["x-checksum"], "abc");
    let over_h1 = stage.client().send(with(get(&stage.url("/trailers")), "te", "trailers")).await;
    assert_eq!((over_h1.text().as_str(), &over_h1.trailers["x-checksum"].to_str().expect("text")), ("content", &"abc"));
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_origin() {
    let (mut origin, proxy) = raw("HTTP/1.1 204 No Content\r\n\r\n").await;
    let authority = origin.authority();
    let mut inside = proxy.client().raw_inside(&authority).await;
    let head = format!("POST / HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
    inside.send(format!("{head}2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n")).await;
    assert_eq!(inside.answer().await.head.status(), 204);
    let request = origin.request().await;
    assert_eq!(request.message.content, b"hi");
    let trailer = request.message.trailers.first().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    assert_eq!(trailer, Some(("x-sum".to_owned(), "7".to_owned())), "{}", from_latin1(&request.bytes));
}

#[tokio::test]
async fn another_expectation_is_refused() {
    let mut stage = Stage::granting("").await;
    stage.client().send(with(get(&stage.url("/echo")), "expect", "the unexpected")).await.says(417, &[]);
    stage.was_refused(json!({"outcome": "denied", "error": "expectation"})).await;
}

#[tokio::test]
async fn fields_that_are_ours_are_refused_from_an_agent() {
    for name in ["x-exchange", "x-pipelock-agent", "pipelock-mediation"] {
        let mut stage = Stage::granting("").await;
        stage.client().send(with(get(&stage.url("/echo")), name, "1")).await.says(403, &[name]);
        stage.was_refused(json!({"outcome": "denied", "error": "own_field"})).await;
    }
}

#[tokio::test]
async fn content_that_the_origin_cuts_short_is_an_error_for_the_client() {
    for client in [|c: harness::client::Client| c, |c: harness::client::Client| c.h2()] {
        let mut stage = Stage::granting("").await;
        client(stage.client()).try_send(get(&stage.url("/cut?n=100"))).await.expect_err("never a clean end");
        says(&stage.proxy.exchange().await, json!({"status": 200, "outcome": "failed"}));
    }
}

#[tokio::test]
async fn content_that_a_reset_connection_ends_is_an_error_too() {
    // Nothing but the connection's end would end it, and the reset is told to who reads once.
    let content = "x".repeat(8000);
    let origin = RawOrigin::resetting("raw.localhost", format!("HTTP/1.1 200 OK\r\n\r\n{content}")).await;
    let mut proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"]))).await;
    let request = get(&format!("http://{}/", origin.authority()));
    proxy.client().try_send(request).await.expect_err("never a clean end");
    says(&proxy.exchange().await, json!({"outcome": "failed"}));
}

#[tokio::test]
async fn an_origin_that_breaks_off_before_an_answer_is_a_502() {
    let (mut origin, mut proxy) = raw("").await;
    let answer = proxy.client().get(&format!("https://{}/", origin.authority())).await;
    answer.says(502, &["record: "]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "status": 502}));
    origin.request().await;
}

async fn raw(answer: &str) -> (RawOrigin, Proxy) {
    let pki = Pki::new();
    let origin = RawOrigin::tls(&pki, "raw.localhost", answer).await;
    let proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
    (origin, proxy)
}

#[tokio::test]
async fn content_of_a_get_in_chunks_arrives() {
    let stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    inside
        .send(format!(
            "GET /echo HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ))
        .await;
    assert_eq!(inside.answer().await.head.status(), 200);
    let arrival = stage.origin.next_arrival().await;
    assert_eq!(arrival.received().await.kept, b"hello");
}

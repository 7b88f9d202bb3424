//! The inner face lets nobody through but the one exchange that is waiting, once, with its own content.

use harness::client::{Client, get, post};
use harness::h1::{Message, from_latin1};
use serde_json::json;

use super::{Inspected, says};

#[tokio::test]
async fn an_id_that_nobody_waits_for_is_refused() {
    let inspected = Inspected::start("").await;
    let guessed = "X-Exchange: 00112233445566778899aabbccddeeff\r\n";
    for fields in ["", guessed, "X-Exchange: not an id\r\n", &format!("{guessed}{guessed}")] {
        let answer = inner_face(&inspected, &format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n")).await;
        assert_ne!(answer.head.status(), 200, "{fields}");
    }
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn an_id_opens_once() {
    let inspected = Inspected::start("").await;
    inspected.client().send(post(&inspected.url("/echo"), "content")).await.says(200, &[]);
    let again = request(&last_id(&inspected), "content");
    assert_ne!(inner_face(&inspected, &again).await.head.status(), 200);
    assert_eq!(inspected.origin.seen().arrivals().len(), 1);
}

#[tokio::test]
async fn an_id_whose_client_has_left_opens_nothing() {
    let mut inspected = Inspected::start("").await;
    inspected.inspector.wire.hold();
    let (client, url) = (inspected.client(), inspected.url("/echo?left"));
    let asking = tokio::spawn(async move { client.try_send(get(&url)).await });
    inspected.inspector.input().saw("/echo?left").await;
    asking.abort();
    let _ = asking.await;
    says(&inspected.proxy.exchange().await, json!({"outcome": "aborted"}));
    let late = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Exchange: {}\r\n\r\n", last_id(&inspected));
    assert_eq!(inner_face(&inspected, &late).await.head.status(), 403);
    let record = inspected.proxy.record_where(|record| record["by"] == "inner face").await;
    says(&record, json!({"outcome": "denied", "error": "exchange_unknown", "status": 403}));
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn other_content_than_what_was_asked_about_does_not_pass() {
    for content in ["c0ntent", "conten", "content and more", ""] {
        let mut inspected = Inspected::start("").await;
        inspected.inspector.wire.hold();
        let (client, url) = (inspected.client(), inspected.url("/echo"));
        let asking = tokio::spawn(async move { client.send(post(&url, "content")).await });
        inspected.inspector.input().saw("\r\n\r\ncontent").await;
        let answer = inner_face(&inspected, &request(&last_id(&inspected), content)).await;
        assert_ne!(answer.head.status(), 200, "`{content}` passed for `content`");
        inspected.origin.saw_nothing();
        inspected.inspector.wire.release();
        let answer = asking.await.expect("no panic");
        assert!(answer.status.is_server_error(), "{}: {}", answer.status, answer.text());
        let record = inspected.proxy.record_where(|record| record["by"] == "inner face").await;
        says(&record, json!({"outcome": "denied", "error": "exchange_unknown"}));
        let record = inspected.proxy.record_where(|record| record["host"] == "api.localhost").await;
        says(&record, json!({"outcome": "failed"}));
        inspected.origin.saw_nothing();
    }
}

#[tokio::test]
async fn the_inner_face_serves_neither_tunnels_nor_the_live_table() {
    let inspected = Inspected::start("").await;
    let authority = inspected.origin.authority();
    for request in [
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!("GET https://{authority}/echo HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        "GET http://_egress-proxy.local/allowlist HTTP/1.1\r\nHost: _egress-proxy.local\r\n\r\n".to_owned(),
    ] {
        let answer = inner_face(&inspected, &request).await;
        assert_ne!(answer.head.status(), 200, "{request}");
        assert!(!answer.text().contains("api.localhost\""), "{}", answer.text());
    }
    inspected.origin.saw_nothing();
}

fn request(id: &str, content: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nX-Exchange: {id}\r\nContent-Length: {}\r\n\r\n{content}", content.len())
}

/// The id of the last exchange that pipelock was shown.
fn last_id(inspected: &Inspected) -> String {
    let input = from_latin1(&inspected.inspector.input().bytes()).to_ascii_lowercase();
    let start = input.rfind("x-exchange: ").expect("pipelock was shown an id") + "x-exchange: ".len();
    input[start..].chars().take_while(char::is_ascii_hexdigit).collect()
}

async fn inner_face(inspected: &Inspected, request: &str) -> Message {
    let mut raw = Client::new(inspected.proxy.inner_face(), "").raw().await;
    raw.send(request).await;
    raw.answer().await
}

//! Node's fetch and Anthropic's SDK.

use harness::origin::{Origin, full};
use harness::pki::Pki;
use harness::programs::{Program, clients};
use http::{HeaderValue, Response};

use crate::{CREDENTIAL, Granted, is_refusal};

const FETCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/programs/fetch.mjs");
const ANTHROPIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/programs/anthropic.mjs");

/// A message as the API streams it.
const MESSAGE: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-example","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello from the origin"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

"#;

#[tokio::test]
async fn node_fetch_reaches_a_granted_host() {
    let granted = Granted::start().await;
    let ran = node().through(&granted.proxy).arg(FETCH).arg(granted.echo()).run().await;
    assert!(ran.output().starts_with("200\n"), "{}", ran.output());
    granted.is_echo(ran.output());
}

#[tokio::test]
async fn node_fetch_reads_why_another_host_is_refused() {
    let granted = Granted::start().await;
    let ran = node().through(&granted.proxy).arg(FETCH).arg(granted.elsewhere()).run().await;
    assert!(ran.output().starts_with("403\n"), "{}", ran.output());
    is_refusal(ran.output());
}

#[tokio::test]
async fn the_anthropic_sdk_streams_a_message() {
    let pki = Pki::new();
    let opening = Origin::opening("api.localhost").tls(pki.server(&["api.localhost"], &["h2", "http/1.1"]));
    let answering = opening.answering(|request, site| async move {
        let (parts, body) = request.into_parts();
        site.seen.arrived(&parts, body).received().await;
        let mut response = Response::new(full(MESSAGE));
        response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
        response
    });
    let granted = Granted::to(&pki, answering.start().await).await;

    let ran = node().through(&granted.proxy).arg(ANTHROPIC).arg(clients()).arg(granted.origin.url("")).run().await;

    assert_eq!(ran.output(), "Hello from the origin\nend_turn\n");
    let arrival = granted.origin.next_arrival().await;
    assert_eq!(arrival.target, "/v1/messages");
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
    assert_eq!(arrival.value("x-api-key"), None, "the placeholder went no further");
}

fn node() -> Program {
    Program::client("node_modules/.bin/node")
}

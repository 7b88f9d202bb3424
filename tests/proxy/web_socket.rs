//! WebSockets: carried where the built-in scan can judge them, refused where pipelock would have to.

use futures_util::{SinkExt, StreamExt};
use harness::pipelock::{Answers, Inspector};
use harness::within;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::{AWS_KEY, CREDENTIAL, Stage, says};

#[tokio::test]
async fn messages_go_both_ways() {
    let stage = Stage::with_auth("scheme: Bearer").await;
    let mut socket = stage.client().web_socket(&stage.url("/ws")).await.expect("a WebSocket");
    for message in [Message::text("hello"), Message::binary(vec![0, 1, 2]), Message::text("x".repeat(100_000))] {
        socket.send(message.clone()).await.expect("open");
        assert_eq!(within("an echo", socket.next()).await.expect("open").expect("no failure"), message);
    }
    let arrival = stage.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
}

#[tokio::test]
async fn a_handshake_to_an_unlisted_host_is_refused() {
    let stage = Stage::granting("").await;
    let url = stage.url("/ws").replace("api.localhost", "other.localhost");
    assert_eq!(refusal(stage.client().web_socket(&url).await.err()), 403);
    stage.origin.saw_nothing();
}

#[tokio::test]
async fn a_message_with_a_secret_does_not_leave() {
    let mut stage = Stage::granting("").await;
    let mut socket = stage.client().web_socket(&stage.url("/ws")).await.expect("a WebSocket");
    socket.send(Message::text(format!("take {AWS_KEY}"))).await.expect("open");
    let next = within("the end", socket.next()).await;
    assert!(!matches!(next, Some(Ok(Message::Text(_)))), "it came back: {next:?}");
    drop(socket);
    says(&stage.proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
    for bytes in stage.origin.received() {
        assert!(!unmasked(&bytes).contains(AWS_KEY), "the origin got it");
    }
}

#[tokio::test]
async fn an_inspected_route_carries_none() {
    let inspector = Inspector::stand_in(Answers::Unscanned).await;
    let mut stage = Stage::with("", |setup| inspector.asked_by(setup)).await;
    assert_eq!(refusal(stage.client().web_socket(&stage.url("/ws")).await.err()), 403);
    stage.was_refused(json!({"outcome": "denied", "error": "websocket_inspected"})).await;
    let off = Stage::with("inspect: off", |setup| inspector.asked_by(setup)).await;
    off.client().web_socket(&off.url("/ws")).await.expect("a WebSocket");
}

fn refusal(error: Option<Error>) -> u16 {
    match error {
        Some(Error::Http(response)) => response.status().as_u16(),
        other => panic!("no refusal: {other:?}"),
    }
}

/// What a client's frame says, its mask taken off (RFC 6455 section 5.3), wherever a frame begins.
fn unmasked(bytes: &[u8]) -> String {
    let frames = bytes.windows(6).enumerate().filter(|(_, head)| head[0] & 0x0f == 1 && head[1] & 0x80 != 0);
    let texts = frames.map(|(start, head)| {
        let content = bytes[start + 6..].iter().enumerate();
        content.map(|(index, byte)| char::from(byte ^ head[2 + index % 4])).collect::<String>()
    });
    texts.collect()
}

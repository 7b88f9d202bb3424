//! WebSockets, over HTTP/1.1 and h2 on either side: carried where the built-in scan can judge them, refused where
//! pipelock would have to.

use futures_util::{SinkExt, StreamExt};
use harness::client::{Answer, Client, Protocol, WebSocket};
use harness::origin::Origin;
use harness::origin::raw::RawOrigin;
use harness::pipelock::{Answers, Inspector};
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use hyper::ext::Protocol as Extended;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::{AWS_KEY, CREDENTIAL, Stage, route, says};

const AUTH: &str = "auth: {scheme: Bearer, token_env: TOKEN}";

/// What an origin speaks.
const ORIGINS: [(&str, &[&str]); 3] = [("http/1.1", &["http/1.1"]), ("h2", &["h2"]), ("both", &["h2", "http/1.1"])];
const CLIENTS: [Protocol; 2] = [Protocol::H1, Protocol::H2];

/// A stage whose origin offers these protocols.
async fn stage(alpn: &[&str], rest: &str) -> Stage {
    let pki = Pki::new();
    let origin = Origin::opening("api.localhost").tls(pki.server(&["api.localhost"], alpn)).start().await;
    let setup = Setup::new(&routes([&route(rest)])).trusting(&pki).env("TOKEN", CREDENTIAL);
    Stage { proxy: Proxy::start(setup).await, origin }
}

async fn opened(stage: &Stage, client: Protocol, path: &str) -> WebSocket {
    let opening = stage.client().speaking(client).open_web_socket(&stage.url(path)).await;
    opening.unwrap_or_else(|answer| panic!("{client:?}: {}", answer.status()))
}

#[tokio::test]
async fn messages_go_both_ways_whatever_either_side_speaks() {
    for ((name, alpn), client) in ORIGINS.into_iter().flat_map(|origin| CLIENTS.map(|client| (origin, client))) {
        let mut stage = stage(alpn, AUTH).await;
        let mut socket = opened(&stage, client, "/ws").await;
        for message in [Message::text("hello"), Message::binary(vec![0, 1, 2]), Message::text("x".repeat(100_000))] {
            socket.send(message.clone()).await.expect("open");
            let echo = within("an echo", socket.next()).await.expect("open").expect("no failure");
            assert_eq!(echo, message, "{client:?} to {name}");
        }
        let arrival = stage.origin.next_arrival().await;
        assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
        assert_eq!(arrival.value("sec-websocket-extensions"), None);
        socket.close(None).await.expect("open");
        drop(socket);
        let (status, client, spoken) = (
            if client == Protocol::H1 { 101 } else { 200 },
            if client == Protocol::H1 { "http/1.1" } else { "h2" },
            if name == "h2" { "h2" } else { "http/1.1" },
        );
        let record = stage.proxy.exchange().await;
        says(&record, json!({"method": "GET", "status": status, "outcome": "completed"}));
        says(&record, json!({"client_protocol": client, "origin_protocol": spoken}));
    }
}

#[tokio::test]
async fn a_message_with_a_secret_does_not_leave() {
    for ((name, alpn), client) in ORIGINS.into_iter().flat_map(|origin| CLIENTS.map(|client| (origin, client))) {
        let mut stage = stage(alpn, "").await;
        let mut socket = opened(&stage, client, "/ws").await;
        socket.send(Message::text(format!("take {AWS_KEY}"))).await.expect("open");
        let next = within("the end", socket.next()).await;
        match next {
            Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1008, "{}", close.reason),
            other => panic!("{client:?} to {name}: {other:?}"),
        }
        drop(socket);
        says(&stage.proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
        for bytes in stage.origin.received() {
            assert!(!unmasked(&bytes).contains(AWS_KEY), "the origin got it");
        }
    }
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_the_websocket() {
    for client in CLIENTS {
        let mut stage = stage(&["http/1.1"], "").await;
        let mut socket = opened(&stage, client, "/ws").await;
        let wrong = Frame::message(&b"caf\xe9!"[..], OpCode::Data(Data::Text), false);
        socket.send(Message::Frame(wrong)).await.expect("open");
        match within("the end", socket.next()).await {
            Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1007, "{}", close.reason),
            other => panic!("{client:?}: {other:?}"),
        }
        drop(socket);
        says(&stage.proxy.exchange().await, json!({"outcome": "denied", "error": "websocket_protocol"}));
    }
}

#[tokio::test]
async fn a_credential_that_comes_back_is_masked_over_frames() {
    for ((name, alpn), client) in ORIGINS.into_iter().flat_map(|origin| CLIENTS.map(|client| (origin, client))) {
        let mut stage = stage(alpn, AUTH).await;
        let mut socket = opened(&stage, client, "/ws?tell=authorization").await;
        let told = within("a message", socket.next()).await.expect("open").expect("no failure");
        assert_eq!(told, Message::text(format!("Bearer {}", "*".repeat(CREDENTIAL.len()))), "{client:?} to {name}");
        drop(socket);
        says(&stage.proxy.exchange().await, json!({"masked": CREDENTIAL.len()}));
    }
}

#[tokio::test]
async fn a_message_that_ends_in_the_first_bytes_of_the_credential_is_not_held_back() {
    for client in CLIENTS {
        let stage = stage(&["http/1.1"], AUTH).await;
        // The origin says no more until it is spoken to.
        let mut socket = opened(&stage, client, "/ws?tell=authorization&part=11").await;
        let told = within("a message", socket.next()).await.expect("open").expect("no failure");
        assert_eq!(told, Message::text(format!("Bearer {}", &CREDENTIAL[..4])));
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_granted_is_refused() {
    for client in CLIENTS {
        let stage = Stage::granting("path_allowlist: [/ws]").await;
        for url in [stage.url("/ws").replace("api.localhost", "other.localhost"), stage.url("/other")] {
            let answer = stage.client().speaking(client).open_web_socket(&url).await.err().expect("a refusal");
            Answer::read(answer).await.expect("a whole answer").says(403, &["record: "]);
        }
        stage.origin.saw_nothing();
    }
}

#[tokio::test]
async fn an_extended_connect_is_judged_as_the_get_that_it_stands_for() {
    let granted = Stage::granting("matches: [{methods: [GET], paths: [{type: prefix, value: /ws}]}]").await;
    opened(&granted, Protocol::H2, "/ws").await;
    let mut posts = Stage::granting("matches: [{methods: [POST]}]").await;
    assert!(posts.client().h2().open_web_socket(&posts.url("/ws")).await.is_err());
    posts.was_refused(json!({"outcome": "denied", "method": "GET"})).await;
}

#[tokio::test]
async fn an_extended_connect_for_anything_else_is_refused() {
    for protocol in ["connect-udp", "connect-ip", "webtransport", "WebSocket2"] {
        let mut stage = Stage::granting("").await;
        let client = stage.client().h2();
        let mut request = client.handshake(&stage.url("/ws"));
        request.extensions_mut().insert(Extended::from(protocol));
        let mut session = client.session_for(&stage.url("/")).await;
        session.send(request).await.expect("an answer").says(403, &["CONNECT inside a tunnel"]);
        stage.was_refused(json!({"outcome": "denied", "error": "nested_connect"})).await;
    }
}

#[tokio::test]
async fn an_origin_that_declines_is_heard() {
    for ((name, alpn), client) in ORIGINS.into_iter().flat_map(|origin| CLIENTS.map(|client| (origin, client))) {
        let stage = stage(alpn, "").await;
        let url = stage.url("/status?code=404");
        let answer = stage.client().speaking(client).open_web_socket(&url).await.err().expect("no WebSocket");
        assert_eq!(answer.status(), 404, "{client:?} to {name}");
    }
}

#[tokio::test]
async fn a_success_that_is_no_agreement_does_not_open_a_websocket() {
    // To a client of h2 every 200 to its CONNECT would mean that the WebSocket is open.
    let mut stage = stage(&["http/1.1"], "").await;
    let answer = stage.client().h2().open_web_socket(&stage.url("/echo")).await.err().expect("no WebSocket");
    assert_eq!(answer.status(), 502);
    says(&stage.proxy.exchange().await, json!({"outcome": "failed", "error": "http_upgrade_failed"}));
}

#[tokio::test]
async fn an_origin_that_agrees_on_something_else_is_a_502() {
    const KEY: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for fields in ["", KEY, "Sec-WebSocket-Extensions: permessage-deflate\r\n"] {
        for client in CLIENTS {
            let pki = Pki::new();
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
            let origin = RawOrigin::tls(&pki, "raw.localhost", format!("{head}{fields}\r\n")).await;
            let mut proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
            let url = format!("https://{}/", origin.authority());
            let answer = proxy.client().speaking(client).open_web_socket(&url).await.err().expect("no WebSocket");
            assert_eq!(answer.status(), 502, "{fields}");
            says(&proxy.exchange().await, json!({"outcome": "failed", "error": "http_upgrade_failed"}));
        }
    }
}

#[tokio::test]
async fn only_compression_that_can_be_undone_is_offered_to_an_origin() {
    let pki = Pki::new();
    let mut origin = RawOrigin::tls(&pki, "raw.localhost", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
    let url = format!("https://{}/", origin.authority());
    for client in CLIENTS {
        let client: Client = proxy.client().speaking(client);
        let offers = "permessage-bzip2, permessage-deflate; client_max_window_bits, x-own";
        let request = harness::client::with(client.handshake(&url), "sec-websocket-extensions", offers);
        let answer = client.session_for(&url).await.send(request).await.expect("an answer");
        assert_eq!(answer.status, 403);
        let head = origin.request().await;
        let offered = head.head().field("sec-websocket-extensions");
        assert_eq!(offered, Some("permessage-deflate; client_max_window_bits"));
        assert!(head.head().field("sec-websocket-key").is_some_and(|key| key.len() == 24));
        assert!(head.head().start.starts_with("GET / "), "{}", head.head().start);
    }
}

#[tokio::test]
async fn what_a_reload_no_longer_grants_ends() {
    for client in CLIENTS {
        let mut stage = stage(&["h2", "http/1.1"], "").await;
        let mut socket = opened(&stage, client, "/ws").await;
        stage.proxy.write_routes(&routes([]));
        let next = within("the end", socket.next()).await;
        assert!(!matches!(next, Some(Ok(Message::Text(_)))), "{next:?}");
        says(&stage.proxy.exchange().await, json!({"outcome": "denied", "error": "revoked"}));
    }
}

#[tokio::test]
async fn an_inspected_route_carries_none() {
    for client in CLIENTS {
        let inspector = Inspector::stand_in(Answers::Unscanned).await;
        let mut stage = Stage::with("", |setup| inspector.asked_by(setup)).await;
        let answer = stage.client().speaking(client).open_web_socket(&stage.url("/ws")).await.err().expect("refused");
        assert_eq!(answer.status(), 403);
        stage.was_refused(json!({"outcome": "denied", "error": "websocket_inspected"})).await;
        let off = Stage::with("inspect: off", |setup| inspector.asked_by(setup)).await;
        opened(&off, client, "/ws").await;
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

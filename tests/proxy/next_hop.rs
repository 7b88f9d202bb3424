//! Connections to origins: used again, replaced when they are gone, and never the cause of sending anything twice.

use harness::client::{get, post};
use harness::h1::from_latin1;
use harness::origin::raw::RawOrigin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Stage, says};

#[tokio::test]
async fn a_connection_is_used_again() {
    for client in [|c: harness::client::Client| c, |c: harness::client::Client| c.h2()] {
        let stage = Stage::granting("").await;
        // Nothing, content that leaves with its head, and content that is streamed.
        for length in [0, 10, 100_000, 2_000_000, 10] {
            client(stage.client()).get(&stage.url("/echo")).await.says(200, &[]);
            let content = "x".repeat(length);
            client(stage.client()).send(post(&stage.url("/echo"), content)).await.says(200, &[]);
        }
        assert_eq!(stage.origin.seen().connections(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_is_replaced() {
    let pki = Pki::new();
    // Says nothing about closing, and closes.
    let mut origin = RawOrigin::tls(&pki, "raw.localhost", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
    let url = format!("https://{}/", origin.authority());
    for _ in 0..3 {
        proxy.client().get(&url).await.says(200, &["ok"]);
        proxy.client().send(post(&url, "content")).await.says(200, &["ok"]);
    }
    for _ in 0..6 {
        origin.request().await;
    }
    origin.saw_nothing_more();
}

#[tokio::test]
async fn the_end_of_a_handshake_comes_with_the_first_request() {
    let pki = Pki::new();
    let config = pki.server(&["raw.localhost"], &["http/1.1"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("a bound port").port();
    let origin = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().expect("the proxy dials");
        let mut tls = rustls::ServerConnection::new(config).expect("a server");
        while tls.is_handshaking() {
            while tls.wants_write() {
                tls.write_tls(&mut stream).expect("the proxy reads");
            }
            assert_ne!(tls.read_tls(&mut stream).expect("the proxy writes"), 0);
            tls.process_new_packets().expect("a handshake");
        }
        let mut came = [0; 1000];
        let length = std::io::Read::read(&mut tls.reader(), &mut came);
        let length = length.expect("the request, in the read that ended the handshake");
        std::io::Write::write_all(&mut tls.writer(), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .expect("memory");
        tls.write_tls(&mut stream).expect("the proxy reads");
        from_latin1(&came[..length])
    });
    let proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
    proxy.client().get(&format!("https://raw.localhost:{port}/first")).await.says(200, &["ok"]);
    let request = origin.await.expect("the origin got it");
    assert!(request.starts_with("GET /first HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_request_that_may_have_had_an_effect_is_not_sent_twice() {
    let pki = Pki::new();
    let mut origin = RawOrigin::tls(&pki, "raw.localhost", "").await;
    let mut proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
    let url = format!("https://{}/", origin.authority());
    proxy.client().send(post(&url, "content")).await.says(502, &["record: "]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "error": "connection_terminated"}));
    origin.request().await;
    origin.saw_nothing_more();
}

#[tokio::test]
async fn what_is_sent_again_is_what_was_sent_and_judged() {
    let pki = Pki::new();
    let mut origin = RawOrigin::tls(&pki, "raw.localhost", "").await;
    let table = "host: raw.localhost, ports: any, auth: {scheme: query, parameter: key, token_env: TOKEN}";
    let setup = Setup::new(&routes([table])).trusting(&pki).env("TOKEN", "a-credential-0123");
    let mut proxy = Proxy::start(setup).await;
    let authority = origin.authority();
    for (version, fields) in [
        ("1.1", "TE: trailers\r\nConnection: te, x-hop\r\nX-Hop: 1\r\nAuthorization: Bearer own-1234567\r\n"),
        // Has no upgrades: what would be taken out of one is a field like any other.
        ("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Extensions: b\r\n"),
    ] {
        let head = format!("PUT /x?a=1&key=own-1234567&b HTTP/{version}\r\nHost: {authority}\r\n{fields}");
        let mut inside = proxy.client().raw_inside(&authority).await;
        inside.send(format!("{head}Content-Length: 2\r\n\r\nok")).await;
        assert_eq!(inside.answer().await.head.status(), 502);
        says(&proxy.exchange().await, json!({"outcome": "failed", "error": "connection_terminated"}));
        let (first, second) = (origin.request().await, origin.request().await);
        assert_eq!(from_latin1(&first.bytes), from_latin1(&second.bytes));
        assert_eq!(first.head().start, "PUT /x?a=1&b&key=a-credential-0123 HTTP/1.1");
        origin.saw_nothing_more();
    }
    // Built from parts, so that no scanner takes this file for a leak.
    let key = ["AK", "IA", "QYLPMN5HHHFPZAM2"].concat();
    for field in ["Sec-WebSocket-Key", "Sec-WebSocket-Extensions"] {
        let mut inside = proxy.client().raw_inside(&authority).await;
        let upgrade = format!("Connection: upgrade\r\nUpgrade: websocket\r\n{field}: {key}\r\n");
        inside.send(format!("GET / HTTP/1.0\r\nHost: {authority}\r\n{upgrade}\r\n")).await;
        assert_eq!(inside.answer().await.head.status(), 403);
        says(&proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
    }
    origin.saw_nothing_more();
}

#[tokio::test]
async fn an_origin_that_is_down_is_a_502_and_is_found_again() {
    let pki = Pki::new();
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = nobody.local_addr().expect("bound").port();
    drop(nobody);
    let mut proxy = Proxy::start(Setup::new(&routes(["host: api.localhost, ports: any"])).trusting(&pki)).await;
    proxy.client().get(&format!("https://api.localhost:{port}/")).await.says(502, &["api.localhost"]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "error": "connection_refused"}));
}

#[tokio::test]
async fn a_hundred_clients_at_once_get_their_own_answers() {
    let stage = Stage::granting("").await;
    let mut asking = JoinSet::new();
    for n in 0..100 {
        let client = if n % 2 == 0 { stage.client() } else { stage.client().h2() };
        let url = stage.url(&format!("/echo?n={n}&"));
        asking.spawn(async move { (n, client.send(get(&url)).await) });
    }
    while let Some(asked) = asking.join_next().await {
        let (n, answer) = asked.expect("no panic");
        answer.says(200, &[&format!("?n={n}&")]);
    }
}

#[tokio::test]
async fn an_origin_that_never_begins_its_answer_is_a_504() {
    let mut stage = Stage::with("", |setup| setup.arg("--response-timeout").arg("1")).await;
    let origin = harness::connect_proxy::ConnectProxy::start(harness::connect_proxy::Behaviour::Says(Vec::new())).await;
    let url = origin.url().replace("127.0.0.1", "api.localhost");
    stage.client().get(&format!("{url}/")).await.says(504, &["in time", "record: "]);
    says(&stage.proxy.exchange().await, json!({"outcome": "failed", "error": "http_response_timeout"}));
}

#[tokio::test]
async fn a_slow_upload_is_not_taken_for_a_silent_origin() {
    let stage = Stage::with("", |setup| setup.arg("--response-timeout").arg("3")).await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    inside.send(format!("POST /upload HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    let arrival = stage.origin.next_arrival().await;
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(500));
    for _ in 0..8 {
        pace.tick().await;
        inside.send("1\r\nx\r\n").await;
    }
    inside.send("0\r\n\r\n").await;
    assert_eq!(inside.answer().await.head.status(), 200);
    assert_eq!(arrival.received().await.bytes, 8);
}

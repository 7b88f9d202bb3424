//! What a client may take of the proxy, in bytes and in time. Limits are made short here; nothing waits on a clock but for
//! what the clock ends.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use harness::client::{Client, get};
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpSocket;

use crate::{Stage, says};

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_cut_and_recorded() {
    let mut stage = with(["--head-timeout", "1"]).await;
    let mut clear = stage.client().raw().await;
    clear.send("GET http://api.localhost/ HTTP/1.1\r\nHost: api.local").await;
    assert_eq!(clear.rest().await, b"");
    says(&stage.proxy.exchange().await, json!({"outcome": "denied", "error": "head_slow", "by": "egress-proxy"}));

    let mut inside = stage.client().raw_inside(&stage.origin.authority()).await;
    inside.send(format!("GET /echo HTTP/1.1\r\nHost: {}\r\n\r\n", stage.origin.authority())).await;
    assert_eq!(inside.answer().await.head.status(), 200);
    inside.send("GET /echo HTTP/1.1\r\nHos").await;
    assert_eq!(inside.rest().await, b"");
    let tunnel = stage.proxy.record_where(|record| record["kind"] == "tunnel").await;
    says(&tunnel, json!({"outcome": "denied", "error": "head_slow", "exchanges": 1}));
}

#[tokio::test]
async fn a_client_that_connects_and_says_nothing_is_cut() {
    let stage = with(["--head-timeout", "1"]).await;
    assert_eq!(stage.client().raw().await.rest().await, b"");
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_reproach() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let mut stage = with(["--idle-timeout", "1"]).await;
        let mut session = client(stage.client()).session(&stage.origin.authority()).await.expect("a tunnel");
        session.send(get(&stage.url("/echo"))).await.expect("an answer").says(200, &[]);
        let tunnel = stage.proxy.record_where(|record| record["kind"] == "tunnel").await;
        says(&tunnel, json!({"outcome": "completed", "exchanges": 1}));
        drop(session);
    }
}

#[tokio::test]
async fn nothing_limits_how_long_an_answer_may_take() {
    let limits = ["--idle-timeout", "0.5", "--head-timeout", "0.5", "--content-timeout", "0.5"];
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let mut stage = with(limits).await;
        let response = client(stage.client()).open(get(&stage.url("/feed"))).await.expect("an answer");
        let mut body = response.into_body();
        stage.origin.feed("data: 1\n\n");
        within("the first event", body.frame()).await.expect("open").expect("no failure");
        // Others run into each limit meanwhile.
        for _ in 0..3 {
            assert_eq!(stage.client().raw().await.rest().await, b"");
        }
        stage.origin.feed("data: 2\n\n");
        stage.origin.end_feed();
        let rest = within("the rest", body.collect()).await.expect("cut by a limit").to_bytes();
        assert_eq!(&rest[..], b"data: 2\n\n");
        let record = stage.proxy.record_where(|record| record["path"] == "/feed").await;
        says(&record, json!({"outcome": "completed"}));
    }
}

#[tokio::test]
async fn a_tunnel_without_a_handshake_is_cut_and_recorded() {
    let mut stage = with(["--handshake-timeout", "0.2"]).await;
    let tunnel = stage.client().tunnel(&stage.origin.authority()).await.expect("a tunnel");
    assert_eq!(harness::client::RawConnection::new(tunnel).rest().await, b"");
    let record = stage.proxy.record_where(|record| record["kind"] == "tunnel").await;
    says(&record, json!({"outcome": "denied", "error": "tls_timeout", "exchanges": 0}));
}

#[tokio::test]
async fn content_that_stops_coming_is_answered_408() {
    let mut stage = with(["--content-timeout", "0.2"]).await;
    let mut slow = stage.client().raw_inside(&stage.origin.authority()).await;
    let host = stage.origin.authority();
    slow.send(format!("POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\n123")).await;
    let answer = slow.answer().await;
    assert_eq!(answer.head.status(), 408, "{}", answer.text());
    stage.was_refused(json!({"outcome": "denied", "error": "content_slow", "status": 408, "request_bytes": 3})).await;
}

#[tokio::test]
async fn the_size_of_a_head_is_a_setting() {
    let stage = with(["--max-head", "8"]).await;
    for (length, status) in [(4_000, 200), (9_000, 431)] {
        let mut raw = stage.client().raw_inside(&stage.origin.authority()).await;
        let (host, long) = (stage.origin.authority(), "x".repeat(length));
        raw.send(format!("GET /echo HTTP/1.1\r\nHost: {host}\r\nX-Long: {long}\r\n\r\n")).await;
        assert_eq!(raw.answer().await.head.status(), status, "{length}");
    }
    assert_eq!(stage.origin.seen().arrivals().len(), 1);
}

#[tokio::test]
async fn one_h2_connection_has_only_so_many_exchanges_under_way() {
    let stage = with(["--max-streams", "1"]).await;
    let mut session = stage.client().h2().session(&stage.origin.authority()).await.expect("a tunnel");
    let feed = session.open(get(&stage.url("/feed"))).await.expect("an answer");
    let url = stage.url("/second");
    let second = tokio::spawn(async move { session.send(get(&url)).await.expect("an answer").status.as_u16() });
    for _ in 0..20 {
        stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    }
    assert!(!stage.origin.seen().arrivals().iter().any(|arrival| arrival.target == "/second"));
    stage.origin.end_feed();
    within("the end", feed.into_body().collect()).await.expect("a clean end");
    within("a stream", second).await.expect("no panic");
    assert!(stage.origin.seen().arrivals().iter().any(|arrival| arrival.target == "/second"));
}

#[tokio::test]
async fn an_origin_that_does_not_take_the_connection_is_a_504() {
    // A listener that accepts nobody, its queue full.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address: SocketAddr = listener.local_addr().expect("a bound port");
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
    }
    let setup = Setup::new(&routes(["host: 127.0.0.1, ports: any"])).arg("--connect-timeout").arg("0.2");
    let mut proxy = Proxy::start(setup).await;
    proxy.client().get(&format!("http://{address}/")).await.says(504, &["in time"]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "error": "connection_timeout"}));
}

#[tokio::test]
async fn a_limit_that_is_none_is_an_error_at_start() {
    for (flag, value) in
        [("--max-connections", "0"), ("--idle-timeout", "0"), ("--head-timeout", "soon"), ("--max-head", "1")]
    {
        let setup = Setup::new(&routes([])).arg(flag).arg(value);
        let ended = Proxy::try_start(setup).await.map(drop).expect_err("no start");
        ended.says(2, &[flag, value]);
    }
}

/// The usual stage, with these limits.
async fn with<const N: usize>(limits: [&str; N]) -> Stage {
    Stage::with("", |setup| limits.iter().fold(setup, |setup, arg| setup.arg(*arg))).await
}

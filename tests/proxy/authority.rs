//! One authority a tunnel: its name, its SNI and its requests agree.

use harness::client::get;
use serde_json::json;

use crate::{Stage, says};

#[tokio::test]
async fn a_request_for_another_host_inside_a_tunnel_is_misdirected() {
    let mut stage = Stage::granting("").await;
    let mut inside = stage.client().raw_inside(&stage.origin.authority()).await;
    inside.send("GET /echo HTTP/1.1\r\nHost: other.localhost\r\n\r\n").await;
    let answer = inside.answer().await;
    assert_eq!(answer.head.status(), 421, "{}", answer.text());
    stage.was_refused(json!({"outcome": "denied", "error": "misdirected", "status": 421})).await;
}

#[tokio::test]
async fn the_default_port_is_not_the_tunnels_port() {
    let mut stage = Stage::granting("").await;
    let mut inside = stage.client().raw_inside(&stage.origin.authority()).await;
    inside.send("GET /echo HTTP/1.1\r\nHost: api.localhost\r\n\r\n").await;
    assert_eq!(inside.answer().await.head.status(), 421);
    stage.was_refused(json!({"error": "misdirected"})).await;
}

#[tokio::test]
async fn an_http_2_authority_for_another_host_is_misdirected() {
    let mut stage = Stage::granting("").await;
    let mut session = stage.client().h2().session(&stage.origin.authority()).await.expect("a tunnel");
    let url = stage.url("/echo").replace("api.localhost", "other.localhost");
    session.send(get(&url)).await.expect("an answer").says(421, &["other.localhost"]);
    stage.was_refused(json!({"error": "misdirected"})).await;
}

#[tokio::test]
async fn an_absolute_target_inside_a_tunnel_must_name_the_tunnels_host() {
    let mut stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    inside.send(format!("GET https://other.localhost/echo HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    let status = inside.answer().await.head.status();
    assert!([400, 421].contains(&status), "{status}");
    stage.origin.saw_nothing();
    says(&stage.proxy.exchange().await, json!({"outcome": "denied"}));
}

#[tokio::test]
async fn a_server_name_that_differs_from_the_tunnel_ends_the_handshake() {
    let mut stage = Stage::granting("").await;
    let handshake = stage.client().tls(&stage.origin.authority(), Some("other.localhost")).await;
    let failure = handshake.expect_err("the handshake fails").to_string();
    assert!(failure.contains("alert"), "{failure}");
    let record = stage.proxy.record_where(|record| record["kind"] == "tunnel").await;
    says(&record, json!({"outcome": "denied", "authority": stage.origin.authority()}));
    stage.origin.saw_nothing();
}

#[tokio::test]
async fn a_handshake_without_a_server_name_is_served() {
    let stage = Stage::granting("").await;
    stage.client().tls(&stage.origin.authority(), None).await.expect("a handshake");
}

#[tokio::test]
async fn connect_inside_a_tunnel_is_refused() {
    let mut stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    inside.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    let status = inside.answer().await.head.status();
    assert!([400, 403].contains(&status), "{status}");
    stage.was_refused(json!({"outcome": "denied"})).await;
}

#[tokio::test]
async fn two_host_fields_are_refused() {
    let mut stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    inside.send(format!("GET / HTTP/1.1\r\nHost: {authority}\r\nHost: other.localhost\r\n\r\n")).await;
    let status = inside.answer().await.head.status();
    assert!([400, 421].contains(&status), "{status}");
    stage.was_refused(json!({"outcome": "denied"})).await;
}

#[tokio::test]
async fn a_request_without_host_is_refused() {
    let mut stage = Stage::granting("").await;
    let mut inside = stage.client().raw_inside(&stage.origin.authority()).await;
    inside.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(inside.answer().await.head.status(), 400);
    stage.was_refused(json!({"outcome": "denied", "error": "bad_target"})).await;
}

#[tokio::test]
async fn a_tunnel_is_recorded_with_its_exchanges() {
    let mut stage = Stage::granting("").await;
    let mut session = stage.client().session(&stage.origin.authority()).await.expect("a tunnel");
    for _ in 0..2 {
        session.send(get(&stage.url("/echo"))).await.expect("an answer").says(200, &[]);
    }
    drop(session);
    let record = stage.proxy.record_where(|record| record["kind"] == "tunnel").await;
    says(&record, json!({"authority": stage.origin.authority(), "outcome": "completed", "exchanges": 2}));
}

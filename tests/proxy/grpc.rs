//! Streams of messages, as gRPC frames them: a message goes on as soon as it is whole, in both directions.

use bytes::Bytes;
use harness::client::post;
use harness::origin::{End, Origin, full};
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;

use crate::streaming::upload;
use crate::{AWS_KEY, CREDENTIAL, Stage, route, says};

const MIB: usize = 1024 * 1024;

/// A message with its prefix.
fn message(content: &[u8]) -> Bytes {
    [&[0][..], &(content.len() as u32).to_be_bytes(), content].concat().into()
}

fn grpc(url: &str, content: harness::origin::Content) -> Request<harness::origin::Content> {
    let request = Request::post(url).header("content-type", "application/grpc").header("te", "trailers");
    request.body(content).expect("a request")
}

#[tokio::test]
async fn messages_go_to_and_fro_one_at_a_time() {
    let stage = Stage::with_auth("scheme: Bearer").await;
    let (pieces, content) = upload();
    // Both ends say the next thing only when they have heard the one before; one ends as the credential begins.
    let said = [message(b"hello"), message(b""), message(&CREDENTIAL.as_bytes()[..4]), message(&[b'x'; 20_000])];
    let request = grpc(&stage.url("/feed?type=application/grpc"), content);
    let client = stage.client().h2();
    let opening = tokio::spawn(async move { client.open(request).await });
    let mut answer = None;
    let arrival = stage.origin.next_arrival().await;
    let (mut opening, mut sent) = (Some(opening), 0);
    for message in said {
        pieces.send(message.clone()).await.expect("the client reads");
        sent += message.len() as u64;
        arrival.received_at_least(sent).await;
        stage.origin.feed(message.clone());
        if let Some(opening) = opening.take() {
            answer = Some(opening.await.expect("no panic").expect("an answer").into_body());
        }
        let mut heard = Vec::new();
        while heard.len() < message.len() {
            let frame = within("an answer", answer.as_mut().expect("opened").frame()).await;
            heard.extend_from_slice(frame.expect("not the end").expect("no failure").data_ref().expect("data"));
        }
        assert_eq!(heard, message);
    }
}

#[tokio::test]
async fn a_message_with_a_secret_ends_the_call() {
    let mut stage = Stage::granting("").await;
    let (pieces, content) = upload();
    let request = grpc(&stage.url("/upload"), content);
    let client = stage.client().h2();
    let answering = tokio::spawn(async move { client.try_send(request).await });
    pieces.send(message(b"clean")).await.expect("the client reads");
    let arrival = stage.origin.next_arrival().await;
    arrival.received_at_least(10).await;
    pieces.send(message(format!("take {AWS_KEY}").as_bytes())).await.expect("the client reads");
    let received = arrival.received().await;
    assert_eq!((received.end, received.bytes), (End::Broken, 10));
    let answer = answering.await.expect("no panic");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 403));
    says(&stage.proxy.exchange().await, json!({"outcome": "blocked", "by": "scan"}));
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_origin() {
    let mut stage = Stage::granting("").await;
    let (pieces, content) = upload();
    let request = grpc(&stage.url("/upload"), content);
    let mut session = stage.client().h2().session(&stage.origin.authority()).await.expect("a tunnel");
    let answering = tokio::spawn(async move { session.open(request).await.map(drop) });
    pieces.send(message(b"hello")).await.expect("the client reads");
    let arrival = stage.origin.next_arrival().await;
    answering.abort();
    assert_eq!(arrival.received().await.end, End::Broken);
    says(&stage.proxy.exchange().await, json!({"outcome": "aborted"}));
}

#[tokio::test]
async fn an_answer_that_is_trailers_only_arrives() {
    let pki = Pki::new();
    let opening = Origin::opening("api.localhost").tls(pki.server(&["api.localhost"], &["h2"]));
    let origin = opening.answering(|request, site| {
        let (parts, body) = request.into_parts();
        site.seen.arrived(&parts, body);
        let answer = Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
        let answer = answer.body(full("")).expect("an answer");
        async move { answer }
    });
    let origin = origin.start().await;
    let proxy = Proxy::start(Setup::new(&routes([&route("")])).trusting(&pki)).await;
    let mut request = post(&origin.url("/x.Y/Z"), message(b"hello"));
    request.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    request.headers_mut().insert("grpc-timeout", "5S".parse().expect("a value"));
    request.headers_mut().insert("te", "trailers".parse().expect("a value"));
    let answer = proxy.client().h2().send(request).await;
    assert_eq!((answer.status.as_u16(), answer.field("grpc-status"), answer.content.len()), (200, "5", 0));
    let arrival = origin.next_arrival().await;
    assert_eq!((arrival.value("te"), arrival.value("grpc-timeout")), (Some("trailers"), Some("5S")));
}

#[tokio::test]
async fn a_long_upload_of_messages_takes_no_memory() {
    let mut stage = Stage::granting("").await;
    let client = stage.client().h2();
    client.get(&stage.url("/bytes?n=1000")).await.says(200, &[]);
    stage.proxy.exchange().await;
    let before = stage.proxy.resident();
    let (pieces, content) = upload();
    let request = grpc(&stage.url("/upload"), content);
    let answering = tokio::spawn(async move { client.send(request).await });
    let piece = message(&vec![b'.'; MIB]);
    let mut peak = before;
    for _ in 0..64 {
        pieces.send(piece.clone()).await.expect("the client reads");
        peak = peak.max(stage.proxy.resident());
    }
    drop(pieces);
    answering.await.expect("no panic").says(200, &[&(64 * piece.len()).to_string()]);
    assert!(peak - before < 32 * MIB as u64, "grew by {} KiB", (peak - before) / 1024);
}

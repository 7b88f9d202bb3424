//! A verdict does not depend on how content is cut: a secret is found at every border of chunks (HTTP/1.1) and of DATA
//! frames (h2). WebSocket frames and content codings have their own tests beside their code, and `fuzz: scan`.

use bytes::Bytes;
use harness::client::{Client, post, with};
use harness::h1::find;
use harness::origin::Content;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use crate::{AWS_KEY, Stage, says};

const BEFORE: &str = "the key is ";

/// Content of unknown length in pieces of these lengths, the rest as one; each is a chunk or a frame of its own.
fn in_pieces(url: &str, content: &str, lengths: &[usize]) -> Request<Content> {
    let mut rest = Bytes::copy_from_slice(content.as_bytes());
    let mut pieces: Vec<_> = lengths.iter().map(|length| rest.split_to(*length)).collect();
    pieces.push(rest);
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
    let content = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    Request::post(url).body(content).expect("a request")
}

async fn is_stopped(stage: &mut Stage, client: &Client, request: Request<Content>, how: &str) {
    // Content of unknown length may be on its way already: then the exchange ends without an answer.
    let _ = client.try_send(request).await;
    let record = stage.proxy.exchange().await;
    says(&record, json!({"outcome": "blocked", "by": "scan"}));
    assert_eq!(record["findings"][0]["rule"], "aws-access-key", "{how}: {record}");
    assert!(stage.origin.received().iter().all(|bytes| find(bytes, AWS_KEY.as_bytes()).is_none()), "{how}");
}

#[tokio::test]
async fn a_secret_is_found_at_every_border_of_chunks_and_frames() {
    let mut stage = Stage::granting("").await;
    let content = format!("{BEFORE}{AWS_KEY} and more");
    for client in [stage.client(), stage.client().h2()] {
        for border in BEFORE.len()..=BEFORE.len() + AWS_KEY.len() {
            let request = in_pieces(&stage.url("/upload"), &content, &[border]);
            is_stopped(&mut stage, &client, request, &format!("cut at {border}")).await;
        }
        let request = in_pieces(&stage.url("/upload"), &content, &vec![1; content.len() - 1]);
        is_stopped(&mut stage, &client, request, "byte by byte").await;
    }
}

/// Each message framed as gRPC does it: a flag, a length, the bytes.
#[tokio::test]
async fn a_secret_in_a_grpc_message_is_found_at_every_border_of_frames() {
    let mut stage = Stage::granting("").await;
    let message = format!("{BEFORE}{AWS_KEY} and more");
    let framed = format!("\0\0\0\0{}{message}", char::from(u8::try_from(message.len()).expect("a short message")));
    let client = stage.client().h2();
    for border in 1..framed.len() {
        let request = in_pieces(&stage.url("/upload"), &framed, &[border]);
        let request = with(with(request, "content-type", "application/grpc"), "te", "trailers");
        is_stopped(&mut stage, &client, request, &format!("cut at {border}")).await;
    }
}

#[tokio::test]
async fn what_was_cut_and_is_clean_arrives_whole() {
    let stage = Stage::granting("").await;
    let content = "nothing to see here, ".repeat(40);
    for client in [stage.client(), stage.client().h2()] {
        let request = in_pieces(&stage.url("/echo"), &content, &[1, 2, 3, 100]);
        client.send(request).await.says(200, &[&content]);
    }
    stage.client().send(post(&stage.url("/echo"), "short")).await.says(200, &["short"]);
}

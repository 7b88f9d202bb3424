//! A gibibyte each way: it passes, and the proxy does not grow.

use bytes::Bytes;
use harness::client::get;
use harness::within;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{CREDENTIAL, MIB, Stage};

const GIB: u64 = 1 << 30;
/// The most that the proxy may grow by.
const GROWTH: u64 = 32 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_comes_down_and_the_proxy_does_not_grow() {
    // With a credential, so that the echo guard reads every byte.
    let stage = Stage::with("auth: {scheme: Bearer, token_env: TOKEN}", |setup| setup.env("TOKEN", CREDENTIAL)).await;
    for client in [stage.proxy.client(), stage.proxy.client().h2()] {
        client.get(&stage.origin.url("/echo")).await.says(200, &[]);
        let (before, mut most) = (stage.proxy.resident(), 0);
        let answer = client.open(get(&stage.origin.url(&format!("/bytes?n={GIB}")))).await.expect("a head");
        let (mut body, mut read) = (answer.into_body(), 0);
        while let Some(frame) = within("more of the answer", body.frame()).await {
            read += frame.expect("not cut").data_ref().map_or(0, Bytes::len) as u64;
            if read % (64 * MIB) < 64 * 1024 {
                most = most.max(stage.proxy.resident());
            }
        }
        let grown = most.saturating_sub(before);
        println!("1 GiB down: {} KiB grown", grown / 1024);
        assert_eq!(read, GIB);
        assert!(grown < GROWTH, "{grown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_goes_up_and_the_proxy_does_not_grow() {
    let stage = Stage::with("", |setup| setup).await;
    for client in [stage.proxy.client(), stage.proxy.client().h2()] {
        client.get(&stage.origin.url("/echo")).await.says(200, &[]);
        let before = stage.proxy.resident();
        let piece = Bytes::from(vec![b'.'; MIB as usize]);
        let pieces = (0..GIB / MIB).map(move |_| Ok(Frame::data(piece.clone())));
        let content = StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync();
        let request = Request::post(stage.origin.url("/upload")).body(content).expect("a request");
        let sending = tokio::spawn(async move { client.open(request).await });
        let arrival = loop {
            let arrival = stage.origin.next_arrival().await;
            if arrival.target == "/upload" {
                break arrival;
            }
        };
        let mut most = 0;
        for part in 1..=16 {
            arrival.received_at_least(part * GIB / 16).await;
            most = most.max(stage.proxy.resident());
        }
        assert_eq!(sending.await.expect("no panic").expect("an answer").status(), 200);
        let grown = most.saturating_sub(before);
        println!("1 GiB up: {} KiB grown", grown / 1024);
        assert!(grown < GROWTH, "{grown}");
    }
}

//! Content flows both ways as it comes, in bounded memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use harness::client::{Client, Protocol, get};
use harness::origin::{Origin, full};
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{CREDENTIAL, Stage, route, says};

const MIB: u64 = 1024 * 1024;

/// What a transfer may add to the proxy's resident memory.
const GROWTH: u64 = 32 * MIB;

#[tokio::test]
async fn events_leave_as_they_arrive() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        for auth in ["", "auth: {scheme: Bearer, token_env: TOKEN}"] {
            let stage = Stage::with(auth, |setup| setup.env("TOKEN", CREDENTIAL)).await;
            let response = client(stage.client()).open(get(&stage.url("/feed"))).await.expect("an answer");
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let mut body = response.into_body();
            for n in 0..3 {
                // The origin has no more than this to send until the client has read it.
                let event = format!("data: {n}\n\n");
                stage.origin.feed(event.clone());
                assert_eq!(read(&mut body, event.len()).await, event.as_bytes());
            }
            stage.origin.end_feed();
            let rest = within("the end", body.collect()).await.expect("a clean end").to_bytes();
            assert!(rest.is_empty(), "{rest:?}");
        }
    }
}

#[tokio::test]
async fn an_upload_leaves_as_it_comes() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let stage = Stage::granting("").await;
        let (pieces, content) = upload();
        let request = Request::post(stage.url("/upload")).body(content).expect("a request");
        let client = client(stage.client());
        let answering = tokio::spawn(async move { client.send(request).await });
        // More than what the scan holds back of content whose length it does not know.
        let piece = Bytes::from(vec![b' '; 64 * 1024]);
        pieces.send(piece.clone()).await.expect("the client reads");
        let arrival = stage.origin.next_arrival().await;
        arrival.received_at_least(32 * 1024).await;
        pieces.send(piece).await.expect("the client reads");
        drop(pieces);
        answering.await.expect("no panic").says(200, &["131072"]);
    }
}

#[tokio::test]
async fn a_download_of_100_mib_takes_no_memory() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let mut stage = Stage::with_auth("scheme: Bearer").await;
        let client = client(stage.client());
        client.get(&stage.url("/bytes?n=1000")).await.says(200, &[]);
        stage.proxy.exchange().await;
        let before = stage.proxy.resident();
        let response = client.open(get(&stage.url(&format!("/bytes?n={}", 100 * MIB)))).await.expect("an answer");
        let mut body = response.into_body();
        let (mut bytes, mut peak) = (0, before);
        while let Some(frame) = within("more", body.frame()).await {
            bytes += frame.expect("no failure").data_ref().map_or(0, Bytes::len) as u64;
            peak = peak.max(stage.proxy.resident());
        }
        assert_eq!(bytes, 100 * MIB);
        assert!(peak - before < GROWTH, "grew by {} KiB", (peak - before) / 1024);
        says(&stage.proxy.exchange().await, json!({"response_bytes": 100 * MIB}));
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_origin_back() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let stage = Stage::granting("").await;
        let before = stage.proxy.resident();
        let request = get(&stage.url(&format!("/bytes?n={}", 200 * MIB)));
        let response = client(stage.client()).open(request).await.expect("an answer");
        // The client has the head and reads nothing: other exchanges still go, and nothing piles up.
        for _ in 0..20 {
            stage.client().get(&stage.url("/bytes?n=100000")).await.says(200, &[]);
        }
        let grown = stage.proxy.resident().saturating_sub(before);
        assert!(grown < GROWTH, "grew by {} KiB", grown / 1024);
        drop(response);
    }
}

#[tokio::test]
async fn many_answers_that_nobody_reads_take_little_memory_each() {
    const MANY: u64 = 256;
    // A few keep pieces of bulk, all others a record or two, and what is on its way to their clients.
    for (protocol, of_each) in [(Protocol::H1, 400 * 1024), (Protocol::H2, 160 * 1024)] {
        let pki = Pki::new();
        let origin = Origin::https_h1(&pki, "api.localhost").await;
        let proxy = Proxy::start(Setup::new(&routes([&route("")])).trusting(&pki)).await;
        let url = origin.url(&format!("/bytes?n={}", 200 * MIB));
        let client = proxy.client().speaking(protocol);
        let before = proxy.resident();
        let mut session = client.session(&origin.authority()).await.expect("a session");
        let mut unread = Vec::new();
        for _ in 0..MANY {
            let answer = match protocol {
                Protocol::H1 => client.open(get(&url)).await,
                Protocol::H2 => session.open(get(&url)).await,
            };
            unread.push(answer.expect("an answer"));
        }
        for _ in 0..20 {
            client.get(&origin.url("/bytes?n=100000")).await.says(200, &[]);
        }
        let grown = proxy.resident().saturating_sub(before) / MANY;
        assert!(grown < of_each, "{protocol:?}: {} KiB each", grown / 1024);
    }
}

#[tokio::test]
async fn an_upload_of_100_mib_takes_no_memory() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let mut stage = Stage::granting("").await;
        let client = client(stage.client());
        client.get(&stage.url("/bytes?n=1000")).await.says(200, &[]);
        stage.proxy.exchange().await;
        let before = stage.proxy.resident();
        let (pieces, content) = upload();
        let request = Request::post(stage.url("/upload")).body(content).expect("a request");
        let answering = tokio::spawn(async move { client.send(request).await });
        let piece = Bytes::from(vec![b'.'; MIB as usize]);
        let mut peak = before;
        for _ in 0..100 {
            pieces.send(piece.clone()).await.expect("the client reads");
            peak = peak.max(stage.proxy.resident());
        }
        drop(pieces);
        answering.await.expect("no panic").says(200, &[&(100 * MIB).to_string()]);
        assert!(peak - before < GROWTH, "grew by {} KiB", (peak - before) / 1024);
        says(&stage.proxy.exchange().await, json!({"request_bytes": 100 * MIB}));
    }
}

#[tokio::test]
async fn an_origin_that_takes_nothing_holds_the_client_back() {
    for (client, spoken) in [(Protocol::H1, "http/1.1"), (Protocol::H2, "http/1.1"), (Protocol::H2, "h2")] {
        let pki = Pki::new();
        let opening = Origin::opening("api.localhost").tls(pki.server(&["api.localhost"], &[spoken]));
        let origin = opening.answering(|request, _| async move {
            if request.method() == Method::POST {
                std::future::pending::<()>().await;
            }
            Response::new(full("ok"))
        });
        let origin = origin.start().await;
        let proxy = Proxy::start(Setup::new(&routes([&route("")])).trusting(&pki)).await;
        let (pieces, content) = upload();
        let request = Request::post(origin.url("/upload")).body(content).expect("a request");
        let client = proxy.client().speaking(client);
        let before = proxy.resident();
        let answering = tokio::spawn(async move { client.try_send(request).await });
        let taken = Arc::new(AtomicU64::new(0));
        let counted = taken.clone();
        let sending = tokio::spawn(async move {
            while pieces.send(Bytes::from(vec![b'.'; MIB as usize])).await.is_ok() {
                counted.fetch_add(MIB, Ordering::Relaxed);
            }
        });
        for _ in 0..50 {
            proxy.client().get(&origin.url("/")).await.says(200, &["ok"]);
        }
        let (grown, taken) = (proxy.resident().saturating_sub(before), taken.load(Ordering::Relaxed));
        assert!(grown < GROWTH, "grew by {} KiB", grown / 1024);
        assert!(taken > 0 && taken < 64 * MIB, "{} KiB were taken", taken / 1024);
        sending.abort();
        answering.abort();
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_exchange_at_the_origin() {
    let mut stage = Stage::granting("").await;
    let (pieces, content) = upload();
    let request = Request::post(stage.url("/upload")).body(content).expect("a request");
    let client = stage.client();
    let answering = tokio::spawn(async move { client.try_send(request).await });
    pieces.send(Bytes::from(vec![b' '; 64 * 1024])).await.expect("the client reads");
    let arrival = stage.origin.next_arrival().await;
    answering.abort();
    drop(pieces);
    assert_eq!(arrival.received().await.end, harness::origin::End::Broken);
    says(&stage.proxy.exchange().await, json!({"outcome": "aborted"}));
}

/// Content that the test writes piece by piece.
pub(crate) fn upload() -> (mpsc::Sender<Bytes>, harness::origin::Content) {
    let (pieces, mut written) = mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::poll_fn(move |cx| {
        written.poll_recv(cx).map(|piece| piece.map(|piece| Ok::<_, Infallible>(Frame::data(piece))))
    });
    (pieces, StreamBody::new(frames).map_err(|never| match never {}).boxed_unsync())
}

async fn read(body: &mut Incoming, bytes: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < bytes {
        let frame = within("more of an answer", body.frame()).await.expect("not the end").expect("no failure");
        content.extend_from_slice(frame.data_ref().expect("data"));
    }
    content
}

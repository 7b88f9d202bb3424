//! What an origin does with h2 that a library would not let it do.

use std::sync::Arc;

use harness::client::get;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::h2_abuse::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, frame};
use crate::{route, says};

const PREFACE: usize = 24;

/// An origin that says this to each request, which is given its stream.
async fn origin(pki: &Pki, mut answer: impl FnMut(u32) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let authority = format!("api.localhost:{}", listener.local_addr().expect("a bound port").port());
    let tls = TlsAcceptor::from(Arc::clone(&pki.server(&["api.localhost"], &["h2"])));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = tls.accept(stream).await.expect("TLS");
        stream.read_exact(&mut [0; PREFACE]).await.expect("a preface");
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("the proxy reads");
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let [a, b, c, kind, _, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload).await.expect("a whole frame");
            if kind == HEADERS {
                stream.write_all(&answer(u32::from_be_bytes(id))).await.expect("the proxy reads");
            }
        }
    });
    authority
}

#[tokio::test]
async fn an_answer_that_is_reset_without_an_error_is_not_whole() {
    const OK: &[u8] = &[0x88];
    let mut halved = None;
    // Half of what would be said; and once somebody else has asked, that nothing is wrong.
    let answer = move |id| match halved.replace(id) {
        None => [frame(HEADERS, END_HEADERS, id, OK), frame(DATA, 0, id, b"half")].concat(),
        Some(halved) => {
            let reset = frame(RST_STREAM, 0, halved, &0_u32.to_be_bytes());
            [reset, frame(HEADERS, END_HEADERS | END_STREAM, id, OK)].concat()
        }
    };
    let pki = Pki::new();
    let authority = origin(&pki, answer).await;
    let mut proxy = Proxy::start(Setup::new(&routes([&route("")])).trusting(&pki)).await;
    let mut session = proxy.client().h2().session(&authority).await.expect("a tunnel");
    let mut half = session.open(get(&format!("https://{authority}/half"))).await.expect("a head").into_body();
    within("half of it", half.frame()).await.expect("content").expect("no failure");
    session.send(get(&format!("https://{authority}/whole"))).await.expect("an answer").says(200, &[]);
    within("the end of the answer", half.collect()).await.expect_err("cut, not ended");
    let record = proxy.record_where(|record| record["path"] == "/half").await;
    says(&record, json!({"outcome": "failed", "error": "connection_terminated"}));
}

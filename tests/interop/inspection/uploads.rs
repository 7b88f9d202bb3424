//! Content on its way to pipelock: large, slow, coded in every way; and refusals that do not wait for all of it.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use harness::client::{post, with};
use harness::h1::{self, Reader};
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{AWS_KEY, Inspected, says};

#[tokio::test]
async fn a_slow_upload_is_collected_before_pipelock_is_asked() {
    let inspected = Inspected::start("").await;
    let authority = inspected.origin.authority();
    let mut inside = inspected.client().raw_inside(&authority).await;
    inside.send(format!("POST /upload HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    // Longer than the ten seconds that pipelock gives a request.
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..12 {
        pace.tick().await;
        inside.send("4\r\nslow\r\n").await;
        assert!(!inspected.inspector.input().contains("/upload"), "pipelock was asked too early");
    }
    inside.send("0\r\n\r\n").await;
    let answer = inside.answer().await;
    assert_eq!((answer.head.status(), answer.text().as_str()), (200, "48"));
}

#[tokio::test]
async fn a_large_upload_arrives_whole() {
    // pipelock reads about 0.3 MiB a second.
    let size = if std::env::var_os("PIPELOCK_BIN").is_some() { 256 << 10 } else { 32 << 20 };
    let inspected = Inspected::start("").await;
    let content = vec![b'.'; size];
    inspected.client().send(post(&inspected.url("/upload"), content)).await.says(200, &[&size.to_string()]);
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_content_is_read_is_heard() {
    for size in [100_000, 8 << 20] {
        let mut inspected = Inspected::start("").await;
        let request = post(&inspected.url(&format!("/{AWS_KEY}")), vec![b'.'; size]);
        inspected.client().send(request).await.says(403, &["pipelock", "DLP match"]);
        says(&inspected.proxy.exchange().await, json!({"outcome": "blocked", "by": "pipelock"}));
        inspected.origin.saw_nothing();
        inspected.client().get(&inspected.url("/echo")).await.says(200, &[]);
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_content_is_heard_and_nothing_is_dialled() {
    // The words are pipelock's, the moment is not: it reads content whole or not at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let inspector = format!("http://{}", listener.local_addr().expect("a bound port"));
    let (asked, has_asked) = oneshot::channel();
    tokio::spawn(async move {
        let mut asked = Some(asked);
        // What asks before is a canary of the proxy's.
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut reader = Reader::new();
            let head = reader.head(&mut stream).await.expect("open").expect("a question");
            if head.start.contains("/upload") {
                let mut begin = vec![0; 1 << 20];
                stream.read_exact(&mut begin).await.expect("content");
                asked.take().map(|asked| asked.send(()));
            }
            let text = "blocked: DLP match: AWS Access ID (critical)\n";
            let head =
                "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff";
            h1::write(&mut stream, format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).as_bytes())
                .await
                .expect("open");
            // It reads no more, and closes as Go's server does.
            let _ = stream.shutdown().await;
            tokio::spawn(async move { while let Ok(1..) = stream.read(&mut [0; 65536]).await {} });
        }
    });
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let setup = Setup::new(&routes(["host: api.localhost, ports: any"])).trusting(&pki).arg("--scan").arg("off");
    let setup = setup.arg("--inspect").arg(inspector).arg("--inspect-listen").arg("127.0.0.1:0");
    let mut proxy = Proxy::start(setup).await;
    let answer = proxy.client().send(post(&origin.url("/upload"), vec![b'.'; 16 << 20])).await;
    has_asked.await.expect("it was asked");
    answer.says(403, &["pipelock", "DLP match"]);
    says(&proxy.record_where(|record| record["host"] == "api.localhost").await, json!({"by": "pipelock"}));
    origin.saw_nothing();
}

#[tokio::test]
async fn every_coding_is_undone_for_pipelock_and_leaves_as_it_came() {
    for (names, coder) in codings() {
        let mut inspected = Inspected::start("").await;
        let coded = coder(format!("take {AWS_KEY}, it is yours").as_bytes());
        let bad = with(post(&inspected.url("/echo"), coded), "content-encoding", names);
        inspected.client().send(bad).await.says(403, &["AWS Access ID"]);
        says(&inspected.proxy.exchange().await, json!({"outcome": "blocked", "by": "pipelock"}));
        inspected.origin.saw_nothing();

        let coded = coder(b"nothing to see");
        let good = with(post(&inspected.url("/upload"), coded.clone()), "content-encoding", names);
        inspected.client().send(good).await.says(200, &[]);
        let arrival = inspected.origin.next_arrival().await;
        assert_eq!(arrival.value("content-encoding"), Some(names));
        assert_eq!(arrival.received().await.kept, coded, "{names}");
        assert!(inspected.inspector.input().contains("nothing to see"), "{names}");
    }
}

#[tokio::test]
async fn codings_that_hide_something_are_refused() {
    let plain = gzip(b"nothing to see");
    for (names, coded) in [
        ("br", b"\xac\x02secret\x03".to_vec()),
        ("gzip, gzip, gzip", gzip(&gzip(&plain))),
        ("gzip, zstd", [zstd(&plain), vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'x']].concat()),
        ("gzip", [&plain[..], b"and more"].concat()),
        ("rot13", b"nothing".to_vec()),
    ] {
        let mut inspected = Inspected::start("").await;
        let request = with(post(&inspected.url("/echo"), coded), "content-encoding", names);
        inspected.client().send(request).await.says(403, &["Content-Encoding"]);
        says(&inspected.proxy.exchange().await, json!({"outcome": "denied", "error": "coding_refused"}));
        inspected.origin.saw_nothing();
    }
}

type Coder = fn(&[u8]) -> Vec<u8>;

fn codings() -> [(&'static str, Coder); 7] {
    [
        ("gzip", gzip),
        ("deflate", zlib),
        ("deflate", deflate),
        ("zstd", zstd),
        ("br", brotli),
        ("gzip, zstd", |text| zstd(&gzip(text))),
        ("zstd, br", |text| brotli(&zstd(text))),
    ]
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text).expect("memory takes everything");
    coder.finish().expect("memory takes everything")
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text).expect("memory takes everything");
    coder.finish().expect("memory takes everything")
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text).expect("memory takes everything");
    coder.finish().expect("memory takes everything")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).expect("memory takes everything")
}

/// One block that is not compressed (RFC 7932 section 9.2), and the empty last one: a window of 16 bits, the length less
/// one in 16 bits from the fifth bit on, and the bit that says so.
fn brotli(text: &[u8]) -> Vec<u8> {
    let head = u32::try_from(text.len() - 1).expect("short") << 4 | 1 << 20;
    [&head.to_le_bytes()[..3], text, &[3]].concat()
}

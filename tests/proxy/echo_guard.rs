//! An origin that sends the injected credential back: it is masked, or the exchange ends before it is whole.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use harness::client::get;
use harness::origin::raw::RawOrigin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use http_body_util::BodyExt;
use serde_json::json;

use crate::{CREDENTIAL, Stage, says};

const AUTH: &str = "host: raw.localhost, ports: any, auth: {scheme: Bearer, token_env: TOKEN}";

#[tokio::test]
async fn a_credential_in_an_answer_is_masked_at_the_same_length() {
    let mut stage = Stage::with_auth("scheme: Bearer").await;
    let answer = stage.client().get(&stage.url("/echo")).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(!answer.text().contains(CREDENTIAL), "{}", answer.text());
    assert!(answer.json()["fields"].is_array(), "still the same JSON: {}", answer.text());
    let record = stage.proxy.exchange().await;
    assert_eq!(record["masked"], CREDENTIAL.len(), "{record}");
}

#[tokio::test]
async fn a_credential_is_masked_in_base64_hexadecimal_and_percent_encoding_too() {
    let forms: Vec<String> = (0..3)
        .flat_map(|before| {
            let text = format!("{}{CREDENTIAL}!", &"xyz"[..before]);
            [STANDARD.encode(&text), URL_SAFE.encode(&text)]
        })
        .chain([
            CREDENTIAL.bytes().map(|byte| format!("{byte:02x}")).collect(),
            CREDENTIAL.bytes().map(|byte| format!("{byte:02X}")).collect(),
            CREDENTIAL.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        ])
        .collect();
    for form in forms {
        let answer = format!("HTTP/1.1 200 OK\r\nX-Told: {form}\r\nContent-Length: {}\r\n\r\n{form}", form.len());
        let (_origin, mut proxy, url) = answering(answer.into_bytes()).await;
        let answer = proxy.client().get(&url).await;
        assert_eq!(answer.content.len(), form.len());
        // What is left are the ends of a base64 text, which hold bits of its neighbours.
        for text in [answer.text(), answer.field("x-told").to_owned()] {
            assert!(text.bytes().filter(|byte| *byte != b'*').count() <= 8, "{form}: {text}");
        }
        let masked = proxy.exchange().await["masked"].as_u64().expect("a number");
        assert!(masked >= 2 * (form.len() as u64 - 8), "{masked}");
    }
}

#[tokio::test]
async fn a_credential_in_an_answers_field_is_masked() {
    let answer = format!("HTTP/1.1 200 OK\r\nX-Told: {CREDENTIAL}\r\nContent-Length: 0\r\n\r\n");
    let (_origin, proxy, url) = answering(answer.into_bytes()).await;
    let answer = proxy.client().get(&url).await;
    assert_eq!(answer.field("x-told").len(), CREDENTIAL.len());
    assert!(!answer.field("x-told").contains(CREDENTIAL));
}

#[tokio::test]
async fn a_credential_across_chunk_borders_is_masked() {
    let stage = Stage::with_auth("scheme: Bearer").await;
    let response = stage.client().open(get(&stage.url("/feed"))).await.expect("an answer");
    let (head, tail) = CREDENTIAL.split_at(11);
    stage.origin.feed(format!("data: {head}"));
    stage.origin.feed(format!("{tail}\n\n"));
    stage.origin.end_feed();
    let content = response.into_body().collect().await.expect("a whole answer").to_bytes();
    let text = String::from_utf8_lossy(&content);
    assert!(!text.contains(CREDENTIAL) && text.len() == "data: \n\n".len() + CREDENTIAL.len(), "{text}");
}

#[tokio::test]
async fn a_tail_that_could_begin_a_credential_is_held_back_and_nothing_else() {
    let stage = Stage::with_auth("scheme: Bearer").await;
    let response = stage.client().open(get(&stage.url("/feed"))).await.expect("an answer");
    let mut body = response.into_body();
    stage.origin.feed("data: one\n\n");
    assert_eq!(&read(&mut body, 11).await[..], b"data: one\n\n", "nothing in it could begin the value");
    stage.origin.feed(format!("x{}", &CREDENTIAL[..4]));
    assert_eq!(&read(&mut body, 1).await[..], b"x");
    stage.origin.feed("!");
    assert_eq!(&read(&mut body, 5).await[..], format!("{}!", &CREDENTIAL[..4]).as_bytes());
}

#[tokio::test]
async fn a_credential_in_a_coded_answer_ends_the_exchange_before_it_is_whole() {
    // Long enough to be coded, and so not to be found as it stands.
    let text = format!("you sent {CREDENTIAL}, thank you. ").repeat(20);
    for text in [text.clone(), STANDARD.encode(&text)] {
        for (coding, coded) in coded(text.as_bytes()) {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", coded.len());
            let (origin, mut proxy, _) = answering([head.into_bytes(), coded.clone()].concat()).await;
            let mut inside = proxy.client().raw_inside(&origin.authority()).await;
            inside.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority())).await;
            let got = inside.rest().await;
            let body = got.windows(4).position(|window| window == b"\r\n\r\n").map_or(&got[..0], |end| &got[end + 4..]);
            assert!(coded.starts_with(body) && body.len() < coded.len(), "{coding}: {} of {}", body.len(), coded.len());
            let told = json!({"status": 200, "outcome": "failed", "error": "credential_echoed"});
            says(&proxy.exchange().await, told);
        }
    }
}

/// The text in every coding that answers have.
fn coded(text: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    fn whole(coder: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Vec<u8> {
        let mut coded = Vec::new();
        coder(&mut coded).expect("memory takes everything");
        coded
    }
    let level = Compression::default();
    // One block of brotli that is not compressed (RFC 7932 section 9.2), and the empty last one.
    let length = u32::try_from(text.len() - 1).expect("short") << 4 | 1 << 20;
    [
        ("gzip", whole(|out| GzEncoder::new(out, level).write_all(text))),
        ("deflate", whole(|out| ZlibEncoder::new(out, level).write_all(text))),
        ("deflate", whole(|out| DeflateEncoder::new(out, level).write_all(text))),
        ("zstd", zstd::encode_all(text, 3).expect("memory takes everything")),
        ("br", [&length.to_le_bytes()[..3], text, &[3]].concat()),
    ]
}

#[tokio::test]
async fn a_coded_answer_without_the_credential_passes_as_it_is() {
    let stage = Stage::with_auth("scheme: Bearer").await;
    let answer = stage.client().get(&stage.url("/gzip?text=hello")).await;
    assert_eq!(answer.field("content-encoding"), "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&answer.content[..]), &mut text).expect("gzip");
    assert_eq!(text, "hello");
}

async fn answering(answer: Vec<u8>) -> (RawOrigin, Proxy, String) {
    let pki = Pki::new();
    let origin = RawOrigin::tls(&pki, "raw.localhost", answer).await;
    let proxy = Proxy::start(Setup::new(&routes([AUTH])).trusting(&pki).env("TOKEN", CREDENTIAL)).await;
    let url = format!("https://{}/", origin.authority());
    (origin, proxy, url)
}

/// Exactly this many bytes, as they come.
async fn read(body: &mut hyper::body::Incoming, bytes: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < bytes {
        let frame = harness::within("more of an answer", body.frame()).await.expect("not the end").expect("no failure");
        content.extend_from_slice(frame.data_ref().expect("data"));
    }
    content
}

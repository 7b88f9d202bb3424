//! Whatever either side speaks: content, trailers, answers without content, answers that break off.

use std::collections::BTreeMap;

use bytes::Bytes;
use harness::client::{Client, Protocol, get, post, with};
use harness::h1::from_latin1;
use harness::origin::raw::RawOrigin;
use harness::origin::{Content, End, Origin};
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use crate::streaming::upload;
use crate::{AWS_KEY, CREDENTIAL, Stage, route, says};

/// Every pair of what a client and an origin speak.
const PAIRS: [(Protocol, &str); 4] =
    [(Protocol::H1, "http/1.1"), (Protocol::H1, "h2"), (Protocol::H2, "http/1.1"), (Protocol::H2, "h2")];

async fn pair(client: Protocol, origin: &str) -> (Stage, Client) {
    let pki = Pki::new();
    let origin = Origin::opening("api.localhost").tls(pki.server(&["api.localhost"], &[origin])).start().await;
    let proxy = Proxy::start(Setup::new(&routes([&route("")])).trusting(&pki)).await;
    let client = proxy.client().speaking(client);
    (Stage { origin, proxy }, client)
}

/// Content in two pieces whose length nobody announces, and a trailer.
fn content() -> Content {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let frames = [Frame::data(Bytes::from("one ")), Frame::data(Bytes::from("two")), Frame::trailers(trailers)];
    let mut frames = frames.into_iter().map(Ok::<_, std::io::Error>);
    StreamBody::new(futures_util::stream::poll_fn(move |_| std::task::Poll::Ready(frames.next()))).boxed_unsync()
}

#[tokio::test]
async fn content_and_trailers_pass_both_ways() {
    for (client, spoken) in PAIRS {
        let (stage, client) = pair(client, spoken).await;
        let request = Request::post(stage.url("/echo")).header("trailer", "x-sum").body(content()).expect("a request");
        let echo = client.send(request).await;
        assert_eq!(echo.json()["content"], "one two");
        assert_eq!(echo.json()["trailers"], json!([["x-sum", "7"]]), "{spoken}");
        let answer = client.send(with(get(&stage.url("/trailers")), "te", "trailers")).await;
        assert_eq!(
            (answer.text().as_str(), &answer.trailers["x-checksum"]),
            ("content", &"abc".parse().expect("text"))
        );
    }
}

#[tokio::test]
async fn content_stops_at_the_origin_when_its_client_leaves() {
    for (client, spoken) in PAIRS {
        let (mut stage, client) = pair(client, spoken).await;
        let (pieces, content) = upload();
        let request = Request::post(stage.url("/upload")).body(content).expect("a request");
        let answering = tokio::spawn(async move { client.try_send(request).await });
        pieces.send(Bytes::from(vec![b' '; 64 * 1024])).await.expect("the client reads");
        let arrival = stage.origin.next_arrival().await;
        answering.abort();
        drop(pieces);
        assert_eq!(arrival.received().await.end, End::Broken, "{spoken}");
        says(&stage.proxy.exchange().await, json!({"outcome": "aborted"}));
    }
}

#[tokio::test]
async fn content_goes_on_to_an_h2_origin_that_has_answered_already() {
    let (stage, client) = pair(Protocol::H2, "h2").await;
    let (pieces, content) = upload();
    let request = Request::post(stage.url("/status?code=200")).body(content).expect("a request");
    pieces.send(Bytes::from("one ")).await.expect("the client reads");
    client.send(request).await.says(200, &[]);
    let arrival = stage.origin.next_arrival().await;
    for piece in [vec![b' '; 256 * 1024], b"two".to_vec()] {
        pieces.send(Bytes::from(piece)).await.expect("the client still reads");
    }
    drop(pieces);
    let received = arrival.received().await;
    assert_eq!((received.bytes, received.end), (4 + 256 * 1024 + 3, End::Complete));
}

#[tokio::test]
async fn content_that_goes_on_to_an_h2_origin_ends_when_it_is_no_longer_granted() {
    let (mut stage, client) = pair(Protocol::H2, "h2").await;
    let (pieces, content) = upload();
    let request = Request::post(stage.url("/status?code=200")).body(content).expect("a request");
    pieces.send(Bytes::from("one ")).await.expect("the client reads");
    client.send(request).await.says(200, &[]);
    let arrival = stage.origin.next_arrival().await;
    stage.proxy.write_routes(&routes(["host: other.localhost"]));
    stage.proxy.event("routes.reloaded").await;
    within("the end of the content", async { while pieces.send(Bytes::from("more ")).await.is_ok() {} }).await;
    assert_eq!(arrival.received().await.end, End::Broken);
}

#[tokio::test]
async fn every_stream_of_an_h2_connection_is_judged_credentialed_and_recorded_by_itself() {
    let rest = "path_allowlist: [/echo], auth: {scheme: Bearer, token_env: TOKEN}";
    let mut stage = Stage::with(rest, |setup| setup.env("TOKEN", CREDENTIAL)).await;
    let mut session = stage.client().h2().session(&stage.origin.authority()).await.expect("a tunnel");
    let requests = [("/echo", "clean", 200), ("/other", "clean", 403), ("/echo", AWS_KEY, 403)].repeat(10);
    let sent = requests.iter().map(|(path, content, _)| post(&stage.url(path), *content));
    let answers = session.send_all(sent).await;
    for (answer, (path, _, status)) in answers.into_iter().zip(&requests) {
        assert_eq!(answer.expect("an answer").status.as_u16(), *status, "{path}");
    }
    let mut told = BTreeMap::new();
    for _ in 0..30 {
        let record = stage.proxy.exchange().await;
        *told.entry(record["verdict"].as_str().expect("a verdict").to_owned()).or_insert(0) += 1;
        assert_eq!(record["credential"].is_string(), record["verdict"] == "allowed", "{record}");
    }
    assert_eq!(
        told,
        BTreeMap::from([("allowed", 10), ("blocked", 10), ("denied", 10)].map(|(k, v)| (k.to_owned(), v)))
    );
    let arrivals = stage.origin.seen().arrivals();
    assert_eq!(arrivals.len(), 10);
    let own = format!("Bearer {CREDENTIAL}");
    assert!(arrivals.iter().all(|arrival| arrival.value("authorization") == Some(&own)));
}

#[tokio::test]
async fn answers_without_content_keep_the_connection_in_step() {
    for (client, spoken) in PAIRS {
        let (stage, client) = pair(client, spoken).await;
        let mut session = client.session(&stage.origin.authority()).await.expect("a tunnel");
        let mut head = get(&stage.url("/bytes?n=5"));
        *head.method_mut() = Method::HEAD;
        let answer = session.send(head).await.expect("an answer");
        assert_eq!((answer.field("content-length"), answer.content.len()), ("5", 0), "{spoken}");
        for code in [204, 304] {
            let answer = session.send(get(&stage.url(&format!("/status?code={code}")))).await.expect("an answer");
            assert_eq!((answer.status.as_u16(), answer.content.len()), (code, 0), "{spoken}");
        }
        session.send(get(&stage.url("/echo"))).await.expect("still in step").says(200, &[]);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_for_the_client() {
    for (client, spoken) in PAIRS {
        let (mut stage, client) = pair(client, spoken).await;
        for path in ["/cut?n=100", "/cut?n=100000"] {
            client.try_send(get(&stage.url(path))).await.expect_err("never a clean end");
            says(&stage.proxy.exchange().await, json!({"status": 200, "outcome": "failed"}));
        }
    }
    // What a client of HTTP/1.1 sees: nothing, less than was announced, or no last chunk; and the end of the connection.
    for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let (_origin, proxy, authority) = raw(&format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        let mut inside = proxy.client().raw_inside(&authority).await;
        inside.send(format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
        let rest = from_latin1(&inside.rest().await);
        assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
        let announced = rest.contains("content-length: 10") || rest.contains("transfer-encoding: chunked");
        assert!(rest.is_empty() || announced, "{rest}");
    }
}

#[tokio::test]
async fn content_that_lasts_until_the_origin_closes_arrives_whole() {
    let (_origin, proxy, authority) = raw("HTTP/1.1 200 OK\r\n\r\nhello").await;
    for client in [proxy.client(), proxy.client().h2()] {
        client.get(&format!("https://{authority}/")).await.says(200, &["hello"]);
    }
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_order() {
    let stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    let requests: String = ["/echo?1", "/bytes?n=70000", "/echo?3"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
        .concat();
    inside.send(requests).await;
    assert!(inside.answer().await.text().contains("/echo?1"));
    assert_eq!(inside.answer().await.content.len(), 70_000);
    assert!(inside.answer().await.text().contains("/echo?3"));
}

#[tokio::test]
async fn a_client_that_wants_the_connection_closed_gets_it_closed() {
    let stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    for version in ["HTTP/1.1\r\nConnection: close", "HTTP/1.0"] {
        let mut inside = stage.client().raw_inside(&authority).await;
        inside.send(format!("GET /echo {version}\r\nHost: {authority}\r\n\r\n")).await;
        let rest = from_latin1(&inside.rest().await);
        assert!(rest.contains(" 200 OK") && rest.contains("/echo"), "{rest}");
    }
    // The connection to the origin is none of its business.
    assert_eq!(stage.origin.seen().connections(), 1);
}

#[tokio::test]
async fn interim_answers_of_an_origin_do_not_pass() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let (_origin, proxy, authority) = raw(&format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    let mut inside = proxy.client().raw_inside(&authority).await;
    inside.send(format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    assert_eq!(inside.interim().await.status(), 200);
}

#[tokio::test]
async fn an_expectation_is_answered_here_and_not_passed_on() {
    let (mut origin, proxy, authority) = raw("HTTP/1.1 204 No Content\r\n\r\n").await;
    let mut inside = proxy.client().raw_inside(&authority).await;
    let head = format!("POST / HTTP/1.1\r\nHost: {authority}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    inside.send(head).await;
    assert_eq!(inside.interim().await.status(), 100);
    assert_eq!(inside.send("hi").await.answer().await.head.status(), 204);
    let request = origin.request().await;
    assert_eq!((request.head().field("expect"), &request.message.content[..]), (None, &b"hi"[..]));
}

#[tokio::test]
async fn heads_up_to_64_kib_pass_and_larger_ones_are_a_431() {
    let stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    for (size, status) in [(65_000, 200), (66_000, 431)] {
        let mut inside = stage.client().raw_inside(&authority).await;
        inside.send(format!("GET /echo HTTP/1.1\r\nHost: {authority}\r\nX: {}\r\n\r\n", "x".repeat(size))).await;
        assert_eq!(inside.answer().await.head.status(), status, "{size}");
    }
    assert_eq!(stage.origin.seen().arrivals().len(), 1);
}

async fn raw(answer: &str) -> (RawOrigin, Proxy, String) {
    let pki = Pki::new();
    let origin = RawOrigin::tls(&pki, "raw.localhost", answer).await;
    let proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
    let authority = origin.authority();
    (origin, proxy, authority)
}

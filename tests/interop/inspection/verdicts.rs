//! What passes, what is blocked, and what each of the three parties sees of it.

use std::io::Write;
use std::net::SocketAddr;

use flate2::{Compression, write::GzEncoder};
use harness::client::{get, post, with};
use harness::origin::Origin;
use harness::pipelock::{Answers, Destination, StandIn};
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;

use super::{AWS_KEY, CREDENTIAL, Inspected, raw_origin, says};

#[tokio::test]
async fn a_clean_request_is_shown_to_pipelock_and_reaches_the_origin() {
    let mut inspected = Inspected::start("").await;
    let request = with(post(&inspected.url("/echo?q=1"), r#"{"a":1}"#), "content-type", "application/json");
    inspected.client().send(with(request, "x-mark", "seen by both")).await.says(200, &[]);
    let record = inspected.proxy.exchange().await;
    says(&record, json!({"outcome": "completed", "status": 200}));
    assert!(record["inspect_ms"].is_number(), "{record}");
    let arrival = inspected.origin.next_arrival().await;
    assert_eq!((arrival.target.as_str(), arrival.text().await.as_str()), ("/echo?q=1", r#"{"a":1}"#));
    for ours in ["x-exchange", "x-pipelock-agent", "via", "x-forwarded-for"] {
        assert_eq!(arrival.value(ours), None);
    }
    let input = inspected.inspector.input();
    assert!(input.contains("\r\nx-pipelock-agent: "), "without it a query could name the agent");
    for shown in [&format!("/x/api.localhost:{}/echo?q=1", inspected.origin.port()), "seen by both", r#"{"a":1}"#] {
        assert!(input.contains(shown), "pipelock was not shown `{shown}`");
    }
}

/// The form that a bottle has: pipelock is allowed one name, and resolves it by itself.
#[tokio::test]
async fn pipelock_is_told_to_come_back_by_name() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let inner_face = free_address().await;
    let destination = Destination { host: "egress-proxy".to_owned(), address: Some(inner_face) };
    let pipelock = StandIn::start(destination, Answers::Unscanned).await;
    let setup = Setup::new(&routes(["host: api.localhost, ports: any"])).trusting(&pki);
    let setup = setup.arg("--inspect").arg(format!("http://{}", pipelock.address()));
    let setup = setup.arg("--inspect-listen").arg(inner_face.to_string());
    let proxy = Proxy::start(setup.arg("--inspect-return").arg("egress-proxy:9098")).await;
    proxy.client().get(&origin.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn a_finding_is_pipelocks_verdict_and_nothing_is_dialled() {
    type Place = fn(&Inspected) -> http::Request<harness::origin::Content>;
    let places: [(Place, &str); 5] = [
        (|i| post(&i.url("/echo"), AWS_KEY), "AWS Access ID"),
        (|i| get(&i.url(&format!("/echo?k={AWS_KEY}"))), "DLP match"),
        (|i| get(&i.url(&format!("/{AWS_KEY}"))), "DLP match"),
        (|i| with(get(&i.url("/echo")), "x-other", AWS_KEY), "header contains secret"),
        (|i| with(post(&i.url("/echo"), "{no"), "content-type", "application/json"), "invalid JSON"),
    ];
    for (request, finding) in places {
        let mut inspected = Inspected::start("").await;
        let answer = inspected.client().send(request(&inspected)).await;
        answer.says(403, &["pipelock", finding, "record: "]);
        let record = inspected.proxy.exchange().await;
        says(&record, json!({"outcome": "blocked", "by": "pipelock"}));
        assert!(!record.to_string().contains(AWS_KEY), "{record}");
        inspected.origin.saw_nothing();
    }
}

#[tokio::test]
async fn the_injected_credential_reaches_the_origin_and_never_pipelock() {
    let mut inspected = Inspected::start("auth: {scheme: Bearer, token_env: TOKEN}").await;
    inspected
        .client()
        .send(with(get(&inspected.url("/echo")), "authorization", "Bearer placeholder"))
        .await
        .says(200, &[]);
    let arrival = inspected.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
    says(&inspected.proxy.exchange().await, json!({"credential": "TOKEN"}));
    assert!(!inspected.inspector.input().contains(CREDENTIAL), "pipelock was shown the credential");
    assert!(!inspected.inspector.log().contains(CREDENTIAL), "pipelock logged the credential");
}

#[tokio::test]
async fn a_token_of_that_shape_from_the_agent_is_refused() {
    let mut inspected = Inspected::start("").await;
    let request = with(get(&inspected.url("/echo")), "x-other", CREDENTIAL);
    inspected.client().send(request).await.says(403, &["pipelock"]);
    says(&inspected.proxy.exchange().await, json!({"outcome": "blocked", "by": "pipelock"}));
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn a_secret_in_trailers_is_shown_to_pipelock() {
    let inspected = Inspected::start("").await;
    let authority = inspected.origin.authority();
    let mut inside = inspected.client().raw_inside(&authority).await;
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
    inside.send(format!("{head}2\r\nhi\r\n0\r\nX-Sum: {AWS_KEY}\r\n\r\n")).await;
    assert_eq!(inside.answer().await.head.status(), 403);
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn coded_content_is_decoded_for_pipelock_and_leaves_as_it_came() {
    let mut inspected = Inspected::start("").await;
    let bad = with(post(&inspected.url("/echo"), gzip(AWS_KEY)), "content-encoding", "gzip");
    inspected.client().send(bad).await.says(403, &["AWS Access ID"]);
    says(&inspected.proxy.exchange().await, json!({"outcome": "blocked", "by": "pipelock"}));
    inspected.origin.saw_nothing();

    let coded = gzip("nothing to see");
    let good = with(post(&inspected.url("/upload"), coded.clone()), "content-encoding", "gzip");
    inspected.client().send(good).await.says(200, &[]);
    let arrival = inspected.origin.next_arrival().await;
    assert_eq!(arrival.value("content-encoding"), Some("gzip"));
    assert_eq!(arrival.received().await.kept, coded);
    assert!(inspected.inspector.input().contains("nothing to see"));
}

#[tokio::test]
async fn content_that_hides_something_after_its_end_is_refused() {
    let mut inspected = Inspected::start("").await;
    let coded = [gzip("nothing to see"), AWS_KEY.as_bytes().to_vec()].concat();
    let request = with(post(&inspected.url("/echo"), coded), "content-encoding", "gzip");
    inspected.client().send(request).await.says(403, &[]);
    let record = inspected.proxy.exchange().await;
    assert!(record["outcome"] == "denied" || record["outcome"] == "blocked", "{record}");
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn target_and_fields_reach_the_origin_byte_for_byte() {
    let (mut origin, proxy, _inspector) = raw_origin("HTTP/1.1 204 No Content\r\n\r\n").await;
    let authority = origin.authority();
    let target = "/a%2Fb%7Cc//d;e=1?q=%2F|x+y&agent=x&b=2&a=1&z=%zz";
    let mut inside = proxy.client().raw_inside(&authority).await;
    inside
        .send(format!(
            "POST {target} HTTP/1.1\r\nHost: {authority}\r\nX-Two: b\r\nX-Two: a\r\nuser-agent: probe/1\r\n\
             Accept-Encoding: br\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 5\r\n\r\nhello"
        ))
        .await;
    assert_eq!(inside.answer().await.head.status(), 204);
    let request = origin.request().await;
    let head = request.head();
    assert_eq!(head.start, format!("POST {target} HTTP/1.1"));
    let two: Vec<_> = head.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-two")).collect();
    assert_eq!(two.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(head.field("user-agent"), Some("probe/1"));
    assert_eq!(head.field("accept-encoding"), Some("br"));
    assert_eq!(head.field("x-forwarded-for"), Some("192.0.2.1"));
    assert_eq!(request.message.content, b"hello");
}

#[tokio::test]
async fn a_request_without_user_agent_gets_none() {
    let (mut origin, proxy, _inspector) = raw_origin("HTTP/1.1 204 No Content\r\n\r\n").await;
    let authority = origin.authority();
    let mut inside = proxy.client().raw_inside(&authority).await;
    inside.send(format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    assert_eq!(inside.answer().await.head.status(), 204);
    assert_eq!(origin.request().await.head().field("user-agent"), None);
}

#[tokio::test]
async fn a_redirect_comes_back_to_the_client() {
    let inspected = Inspected::start("auth: {scheme: header, header: X-Api-Key, token_env: TOKEN}").await;
    let elsewhere = "https://elsewhere.localhost:1/stolen";
    let answer = inspected.client().get(&inspected.url(&format!("/redirect?to={elsewhere}"))).await;
    assert_eq!((answer.status.as_u16(), answer.field("location")), (302, elsewhere));
    assert_eq!(inspected.origin.seen().arrivals().len(), 1);
}

#[tokio::test]
async fn events_leave_as_they_arrive_past_pipelock() {
    let inspected = Inspected::start("").await;
    let response = inspected.client().h2().open(get(&inspected.url("/feed"))).await.expect("an answer");
    let mut body = response.into_body();
    for n in 0..3 {
        let event = format!(": comment\nid: {n}\nevent: tick\ndata: {n}\n\n");
        inspected.origin.feed(event.clone());
        let frame = within("an event", body.frame()).await.expect("open").expect("no failure");
        assert_eq!(frame.data_ref().expect("data"), event.as_bytes(), "not as the origin wrote it");
    }
}

#[tokio::test]
async fn a_download_of_100_mib_goes_past_pipelock() {
    const SIZE: u64 = 100 * 1024 * 1024;
    let inspected = Inspected::start("").await;
    let response = inspected.client().open(get(&inspected.url(&format!("/bytes?n={SIZE}")))).await.expect("an answer");
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = within("more", body.frame()).await {
        bytes += frame.expect("no failure").data_ref().map_or(0, |data| data.len() as u64);
    }
    assert_eq!(bytes, SIZE);
}

#[tokio::test]
async fn a_route_that_is_not_inspected_is_not_shown_to_pipelock() {
    let inspected = Inspected::start("inspect: off").await;
    inspected.client().send(post(&inspected.url("/echo"), AWS_KEY)).await.says(200, &[]);
    assert!(!inspected.inspector.input().contains("api.localhost"));
}

#[tokio::test]
async fn a_table_that_changes_while_pipelock_thinks_is_asked_again() {
    let mut inspected = Inspected::start("").await;
    inspected.inspector.wire.hold();
    let (client, url) = (inspected.client(), inspected.url("/echo?late"));
    let asking = tokio::spawn(async move { client.get(&url).await });
    inspected.inspector.input().saw("/echo?late").await;
    inspected.proxy.write_routes("routes: []");
    inspected.proxy.signal(rustix::process::Signal::HUP);
    inspected.proxy.event("routes.reloaded").await;
    inspected.inspector.wire.release();
    asking.await.expect("no panic").says(403, &["api.localhost"]);
    says(&inspected.proxy.exchange().await, json!({"outcome": "denied", "error": "host_unlisted"}));
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn grpc_is_refused_on_an_inspected_route_and_the_reason_names_the_way_out() {
    let mut inspected = Inspected::start("").await;
    let request = with(
        post(&inspected.url("/pkg.Service/Call"), [0, 0, 0, 0, 0].to_vec()),
        "content-type",
        "application/grpc+proto",
    );
    inspected.client().h2().send(request).await.says(403, &["inspect: off"]);
    says(&inspected.proxy.exchange().await, json!({"outcome": "denied", "error": "grpc_inspected"}));
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn content_over_the_limit_is_a_413_before_it_is_read() {
    let mut inspected = Inspected::start("").await;
    let authority = inspected.origin.authority();
    let mut inside = inspected.client().raw_inside(&authority).await;
    inside.send(format!("POST /echo HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 33554433\r\n\r\n")).await;
    assert_eq!(inside.answer().await.head.status(), 413);
    says(&inspected.proxy.exchange().await, json!({"error": "content_too_large"}));
    inspected.origin.saw_nothing();
}

#[tokio::test]
async fn many_exchanges_at_once_keep_their_verdicts() {
    let inspected = Inspected::start("").await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (client, url) = (inspected.client().h2(), inspected.url("/echo"));
        asking.spawn(async move {
            let content = if n % 2 == 0 { format!("{n} {AWS_KEY}") } else { format!("clean {n}") };
            (n, client.send(post(&url, content)).await)
        });
    }
    while let Some(asked) = asking.join_next().await {
        let (n, answer) = asked.expect("no panic");
        if n % 2 == 0 {
            answer.says(403, &["pipelock"]);
        } else {
            answer.says(200, &[&format!("clean {n}\"")]);
        }
    }
    assert_eq!(inspected.origin.seen().arrivals().len(), 20);
}

/// A port that was free a moment ago: the stand-in has to know it before the proxy listens there.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    listener.local_addr().expect("a bound port")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text.as_bytes()).expect("memory takes everything");
    coder.finish().expect("memory takes everything")
}

//! Bytes that are no HTTP, no TLS, or no request: one refusal, nothing forwarded, and the proxy goes on.

use harness::h1::from_latin1;

use crate::Stage;

/// To the proxy itself. What is closed without words is what the HTTP library found unparsable.
const OUTSIDE: [&str; 17] = [
    "GET / HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT api.localhost HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "CONNECT api.localhost:0 HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "CONNECT api.localhost:99999 HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "CONNECT api.localhost:443:443 HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "CONNECT user@api.localhost:443 HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "CONNECT [::1:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT http://api.localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT a..b:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET ftp://api.localhost/ HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "GET https://api.localhost/ HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "GET http:///path HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET http://user:password@api.localhost/ HTTP/1.1\r\nHost: api.localhost\r\n\r\n",
    "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n",
    "one two three four\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Inside a tunnel for the origin, `AUTHORITY` standing for it.
const INSIDE: [&str; 17] = [
    "GET / HTTP/1.1\r\nHost: AUTHORITY\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: AUTHORITY\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST / HTTP/1.1\r\nHost: AUTHORITY\r\nContent-Length: -1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: AUTHORITY\r\nTransfer-Encoding: gzip\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: AUTHORITY\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    "GET / HTTP/1.1\r\nHost: AUTHORITY\r\nX-Bad Name: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: AUTHORITY\r\nX: a\r\n folded\r\n\r\n",
    "GET / HTTP/9.9\r\nHost: AUTHORITY\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: user@AUTHORITY\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: AUTHORITY, other.localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: AUTHORITY/path\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: AUTHORITY\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: AUTHORITY\r\nTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: AUTHORITY\r\nContent-Length : 5\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: AUTHORITY\r\nX: a\u{0}b\r\n\r\n",
    "GET user:p@ss HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n",
];

#[tokio::test]
async fn malformed_requests_to_the_proxy_are_refused() {
    let mut stage = Stage::granting("").await;
    for request in OUTSIDE {
        let mut raw = stage.client().raw().await;
        // What half-closed now could be taken for gone before it is read.
        let answer = raw.send(harness::h1::latin1(request)).await.try_answer().await;
        is_refused(request, &answer.map(|answer| answer.head.to_bytes()).unwrap_or_default());
        let record = stage.proxy.exchange().await;
        assert!(record["error"].is_string() && record["outcome"] == "denied", "{request}: {record}");
    }
    stage.origin.saw_nothing();
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn malformed_requests_inside_a_tunnel_are_refused() {
    let stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    for request in INSIDE {
        let mut inside = stage.client().raw_inside(&authority).await;
        inside.send(request.replace("AUTHORITY", &authority)).await.finish().await;
        is_refused(request, &inside.rest().await);
        assert!(
            stage.origin.seen().arrivals().iter().all(|arrival| arrival.method == "POST"),
            "{request} was forwarded"
        );
    }
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn bytes_that_are_no_tls_end_a_tunnel_and_are_recorded() {
    let mut stage = Stage::granting("").await;
    for bytes in
        ["GET / HTTP/1.1\r\nHost: api.localhost\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\u{16}\u{3}\u{1}\u{ff}\u{ff}"]
    {
        let tunnel = stage.client().tunnel(&stage.origin.authority()).await.expect("a tunnel");
        let mut raw = harness::client::RawConnection::new(tunnel);
        raw.send(harness::h1::latin1(bytes)).await.finish().await;
        raw.rest().await;
        let record = stage.proxy.record_where(|record| record["kind"] == "tunnel").await;
        assert_ne!(record["outcome"], "completed", "{record}");
        assert!(record["error"].is_string(), "{record}");
    }
    stage.origin.saw_nothing();
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused_and_one_below_passes() {
    let stage = Stage::granting("").await;
    let authority = stage.origin.authority();
    let request = |size| format!("GET /echo HTTP/1.1\r\nHost: {authority}\r\nX-Long: {}\r\n\r\n", "x".repeat(size));
    let mut inside = stage.client().raw_inside(&authority).await;
    assert_eq!(inside.send(request(60_000)).await.answer().await.head.status(), 200);
    let mut inside = stage.client().raw_inside(&authority).await;
    inside.send(request(1_000_000)).await;
    let rest = inside.rest().await;
    assert!(rest.is_empty() || from_latin1(&rest).starts_with("HTTP/1.1 431"), "{}", from_latin1(&rest));
    assert_eq!(stage.origin.seen().arrivals().len(), 1);
}

/// No success, whatever else was said.
#[track_caller]
fn is_refused(request: &str, rest: &[u8]) {
    let text = from_latin1(rest);
    let refused = text.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 5");
    assert!(refused, "`{}` was answered `{text}`", request.escape_debug());
}

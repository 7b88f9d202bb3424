//! What is written down, and where: whole, never more than it may hold, and never lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::client::{Client, RawConnection, get, post, with};
use harness::programs::Program;
use harness::proxy::{Proxy, Setup, routes};
use http::Method;
use serde_json::json;
use shared::record::Record;
use tokio::net::TcpSocket;

use crate::{AWS_KEY, Stage, route, says};

#[tokio::test]
async fn a_completed_exchange_is_told_with_everything_that_is_known_of_it() {
    let mut stage = Stage::with_auth("scheme: Bearer").await;
    stage.client().h2().send(post(&stage.url("/echo"), "12345")).await.says(200, &[]);
    let record = stage.proxy.exchange().await;
    says(
        &record,
        json!({
            "schema": 1, "verdict": "allowed", "outcome": "completed", "client_protocol": "h2", "origin_protocol": "h2",
            "credential": "TOKEN", "next_hop": format!("127.0.0.1:{}", stage.origin.port()), "request_bytes": 5,
        }),
    );
    let [connect, first, total] = ["connect_ms", "first_byte_ms", "total_ms"].map(|name| record[name].as_f64());
    assert!(connect > Some(0.0) && connect <= first && first <= total, "{record}");
    serde_json::from_value::<Record<'static>>(record.clone()).expect("what `shared` describes");
    for absent in ["by", "error", "proxy_error", "reason", "findings", "alarm"] {
        assert!(record.get(absent).is_none(), "`{absent}` in {record}");
    }
}

#[tokio::test]
async fn an_answer_of_ours_says_so_in_proxy_status_and_names_no_next_hop() {
    let mut stage = Stage::granting("path_allowlist: [/echo]").await;
    let refused = stage.client().get(&stage.url("/other")).await;
    assert_eq!(refused.field("proxy-status"), "egress-proxy; error=http_request_denied; details=\"rule_missing\"");
    let record = stage.proxy.exchange().await;
    says(&record, json!({"verdict": "denied", "error": "rule_missing", "proxy_error": "http_request_denied"}));

    // Nobody listens there.
    let mut proxy = Proxy::start(Setup::new(&routes(["host: 127.9.9.9"]))).await;
    let failed = proxy.client().get("http://127.9.9.9/").await;
    assert_eq!(failed.field("proxy-status"), "egress-proxy; error=connection_refused; details=\"connection_refused\"");
    let record = proxy.exchange().await;
    says(&record, json!({"verdict": "allowed", "outcome": "failed", "proxy_error": "connection_refused"}));
}

#[tokio::test]
async fn a_refused_requests_record_holds_nothing_that_the_scan_knows() {
    let stage = Stage::granting("path_allowlist: [/echo]").await;
    let lower = AWS_KEY.to_lowercase();
    let port = stage.origin.port();
    stage.client().get(&stage.url(&format!("/other/{AWS_KEY}"))).await.says(403, &[]);
    stage.client().get(&format!("https://{lower}.localhost:{port}/x")).await.says(403, &[]);
    stage.client().get(&format!("http://{lower}.localhost:{port}/x")).await.says(403, &[]);
    let mut named = get(&stage.url("/echo"));
    *named.method_mut() = Method::from_bytes(AWS_KEY.as_bytes()).expect("a method");
    stage.client().send(named).await.says(403, &[]);
    stage.client().send(with(post(&stage.url("/echo"), ""), "expect", AWS_KEY)).await.says(417, &[]);
    stage.origin.saw_nothing();
    let ended = stage.proxy.stop().await;
    assert_eq!(ended.stdout.matches("\"findings\"").count(), 4, "what identifies is a finding: {}", ended.stdout);
    assert_eq!(ended.stdout.matches("(withheld").count(), 5, "{}", ended.stdout);
    let told = ended.stdout.to_lowercase();
    assert!(!told.contains(&lower), "{}", ended.stdout);
}

#[tokio::test]
async fn a_log_file_is_its_owners_alone_and_one_that_was_moved_away_is_followed_by_a_new_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, moved) = (folder.path().join("log"), folder.path().join("moved"));
    let stage = logging_to(&path).await;
    for _ in 0..3 {
        stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    }
    // What a rotation from outside does.
    fs::rename(&path, &moved).expect("the log is there");
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    let ended = stage.proxy.stop().await;
    assert_eq!(ended.stdout, "", "with a log file stdout has no records");
    let lines = [&path, &moved].map(|path| fs::read_to_string(path).expect("a log")).concat();
    assert_eq!(lines.lines().filter(|line| line.contains("\"exchange\"")).count(), 4, "{lines}");
    assert_eq!(fs::metadata(&path).expect("the log").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn an_unwritable_log_refuses_exchanges_until_it_can_be_written_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log");
    let mut stage = logging_to(&path).await;
    // A folder in its place cannot be written as a file, not even by root.
    fs::rename(&path, folder.path().join("former")).expect("the log is there");
    fs::create_dir(&path).expect("a folder");
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    stage.proxy.event("log.failed").await;
    let mut refused = stage.client().raw().await;
    refused.send("CONNECT api.localhost:443 HTTP/1.1\r\nHost: api.localhost:443\r\n\r\n").await;
    let refused = refused.answer().await;
    assert_eq!(refused.head.status(), 503);
    assert_eq!(
        refused.head.field("proxy-status"),
        Some("egress-proxy; error=proxy_internal_error; details=\"log_unwritable\"")
    );
    assert_eq!(stage.origin.seen().arrivals().len(), 1);
    fs::remove_dir(&path).expect("an empty folder");
    stage.proxy.event("log.resumed").await;
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    stage.proxy.stop().await;
    let kept = fs::read_to_string(&path).expect("a log");
    let told = kept.lines().filter(|line| line.contains("\"exchange\"")).count();
    assert!(told >= 2, "what could not be written then was written later: {kept}");
}

#[tokio::test]
async fn a_log_file_that_cannot_be_written_is_an_error_at_start() {
    let setup = Setup::new(&routes([&route("")]));
    let ended = Proxy::try_start(setup.arg("--log-file").arg("/nowhere/log")).await.map(drop).expect_err("no start");
    ended.says(125, &["--log-file", "No such file"]);
}

#[tokio::test]
async fn a_reader_of_live_records_hears_what_happens_from_then_on() {
    let stage = Stage::with("", |setup| setup.arg("--admin").arg("127.0.0.1:0")).await;
    let mut live = Client::new(stage.proxy.admin(), "").raw().await;
    live.send("GET /records HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    let mut reader = live.text_until(": records as they are written").await;
    stage.client().get(&stage.url("/echo?question")).await.says(200, &[]);
    reader.push_str(&live.text_until("\"kind\":\"exchange\"").await);
    assert!(reader.contains("text/event-stream"), "{reader}");
    assert!(!reader.contains("question"), "{reader}");
}

#[tokio::test]
async fn a_reader_of_live_records_that_stalls_holds_nobody_up_and_is_told_what_it_missed() {
    let rest = "path_allowlist: [/echo]";
    let stage = Stage::with(rest, |setup| setup.arg("--admin").arg("127.0.0.1:0")).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small one");
    let mut live = RawConnection::new(socket.connect(stage.proxy.admin()).await.expect("the proxy accepts"));
    live.send("GET /records HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    live.text_until(": records as they are written").await;
    // Long records fill what lies between the two soon.
    let long = stage.url(&format!("/{}", "x".repeat(8000)));
    let mut session = stage.client().session(&stage.origin.authority()).await.expect("a tunnel");
    for _ in 0..2000 {
        session.send(get(&long)).await.expect("an answer").says(403, &[]);
    }
    live.text_until("event: lost\ndata: ").await;
    session.send(get(&stage.url("/echo"))).await.expect("an answer").says(200, &[]);
    live.text_until("\"verdict\":\"allowed\"").await;
}

#[tokio::test]
async fn metrics_add_up_what_records_say() {
    let stage = Stage::with("path_allowlist: [/echo]", |setup| setup.arg("--admin").arg("127.0.0.1:0")).await;
    let mut session = stage.client().session(&stage.origin.authority()).await.expect("a tunnel");
    session.send(post(&stage.url("/echo"), "12345")).await.expect("an answer").says(200, &[]);
    session.send(get(&stage.url("/other"))).await.expect("an answer").says(403, &[]);
    // A second handshake finds the leaf.
    drop(stage.client().session(&stage.origin.authority()).await.expect("a tunnel"));
    let mut admin = Client::new(stage.proxy.admin(), "").raw().await;
    admin.send("GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await;
    let page = admin.answer().await.text();
    for line in [
        "egress_proxy_exchanges_total{verdict=\"allowed\",outcome=\"completed\"} 1",
        "egress_proxy_exchanges_total{verdict=\"denied\",outcome=\"denied\"} 1",
        "egress_proxy_request_bytes_total 5",
        "egress_proxy_leaves_minted_total 1",
        "egress_proxy_leaf_cache_hits_total 1",
        "egress_proxy_exchange_seconds_count 2",
        "egress_proxy_first_byte_seconds_count 1",
        "egress_proxy_mint_seconds_count 1",
        "egress_proxy_log_writable 1",
    ] {
        assert!(page.lines().any(|found| found == line), "no `{line}` in {page}");
    }
}

#[tokio::test]
async fn the_schema_of_a_record_is_printed() {
    let ran = Program::tested("egress-proxy-under-test").args(["records", "schema"]).run().await;
    let schema: serde_json::Value = serde_json::from_str(ran.output()).expect("JSON");
    assert_eq!(schema["$defs"]["exchange"]["properties"]["schema"]["const"], 1);
}

/// The same stage, its records in a file.
async fn logging_to(path: &Path) -> Stage {
    Stage::with("", |setup| setup.arg("--log-file").arg(path.to_str().expect("an ASCII name"))).await
}

//! Autobahn's suite for WebSockets: its fuzzing client against its own echo server, through the proxy and without it. The
//! two agree on permessage-deflate, so that the compressed cases are compressed on both legs. A credential is injected,
//! so that both directions are unfolded, judged or masked, and framed anew.
//!
//! `AUTOBAHN_CASES` (`*` or a list as `9.*,12.1.1`) says which cases; without it, those of `CASES`. `CONFORMANCE_PROXY`
//! names another build of the proxy than the tests' own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::front::{Behind, listen, serve};
use crate::{Verdicts, installed, judge};

/// How the report calls the two sides.
const PROXIED: &str = "egress-proxy";
const DIRECT: &str = "direct";

/// Why a case is not met.
const EXPLAINED: [(&str, &str); 0] = [];

/// Met in a way that the standard leaves open.
const NON_STRICT: &str = "NON-STRICT";

/// `INFORMATIONAL`: nothing is asked for.
const GOOD: [&str; 3] = ["OK", NON_STRICT, "INFORMATIONAL"];

/// The cases that may be non-strict through the proxy. In all of them the client breaks the protocol right behind a good
/// message: the proxy closes at once (RFC 6455 section 7.1.7), and the origin's echo of that message comes too late.
const LOOSE: [&str; 10] = ["3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"];

/// The compressed cases, each a thousand messages: half an hour through the proxy, and not run without it.
const COMPRESSED: [&str; 2] = ["12.*", "13.*"];

/// All the others.
const CASES: &str = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autobahn_is_met() {
    let pki = Pki::new();
    let route = "host: 127.0.0.1, ports: any, auth: {scheme: Bearer, token_env: TOKEN}";
    let mut setup = Setup::new(&routes([route])).trusting(&pki).env("TOKEN", "tok-autobahn-0f9b2c7d41e85a36");
    if let Some(program) = std::env::var_os("CONFORMANCE_PROXY") {
        setup = setup.program(program);
    }
    let proxy = Proxy::start(setup).await;
    let (_echo, address) = echo_server().await;
    let (listener, port) = listen().await;
    serve(listener, proxy.client(), Behind::InClear(address, pki.server(&["127.0.0.1"], &["http/1.1"])));
    let reports = proxy.files().join("autobahn");
    let cases = std::env::var("AUTOBAHN_CASES").unwrap_or(CASES.to_owned());
    let spec = json!({
        "outdir": reports,
        "servers": [
            {"agent": PROXIED, "url": format!("wss://127.0.0.1:{port}")},
            {"agent": DIRECT, "url": format!("ws://{address}")},
        ],
        "cases": cases.split(',').collect::<Vec<_>>(),
        "exclude-cases": [],
        "exclude-agent-cases": {DIRECT: COMPRESSED},
    });
    let file = proxy.files().join("autobahn.json");
    std::fs::write(&file, spec.to_string()).expect("the test's folder is writable");
    let run = wstest(&["-m", "fuzzingclient", "-s", file.to_str().expect("ASCII")]).output().await.expect("it runs");
    let index = std::fs::read(reports.join("index.json"));
    let index = index.unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&run.stderr)));
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    for side in [DIRECT, PROXIED] {
        eprintln!("{side}: {:.0} s", seconds(&index[side]));
    }
    if index[DIRECT].is_object() {
        judge("Autobahn, without the proxy", &verdicts(&index[DIRECT]), &GOOD, &[]);
    }
    let proxied = verdicts(&index[PROXIED]);
    judge("Autobahn", &proxied, &GOOD, &EXPLAINED);
    let loose = proxied.iter().filter(|(_, verdict)| *verdict == NON_STRICT).map(|(case, _)| case.as_str());
    let loose: Vec<_> = loose.filter(|case| !LOOSE.contains(case)).collect();
    assert!(loose.is_empty(), "non-strict, and not known to be: {loose:?}");
}

/// How long one side took over all of its cases.
fn seconds(report: &Value) -> f64 {
    let cases = report.as_object().into_iter().flatten();
    cases.filter_map(|(_, told)| told["duration"].as_f64()).sum::<f64>() / 1000.0
}

/// What a report says of one side, by case.
fn verdicts(report: &Value) -> Verdicts {
    let cases = report.as_object().expect("every side has a report");
    assert!(!cases.is_empty(), "no case was run");
    let verdict = |told: &Value| {
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let (behavior, closing) = (text("behavior"), text("behaviorClose"));
        if GOOD.contains(&closing.as_str()) { behavior } else { format!("{behavior}, closed: {closing}") }
    };
    cases.iter().map(|(case, told)| (case.clone(), verdict(told))).collect()
}

/// Autobahn's echo server, in clear; it runs as long as the process is kept.
async fn echo_server() -> (Child, SocketAddr) {
    let (listener, port) = listen().await;
    drop(listener);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut server = wstest(&["-m", "testeeserver", "-w", &format!("ws://{address}")]);
    let server = server.stdout(Stdio::null()).spawn().expect("it runs");
    // It says nothing when it listens.
    let mut attempts = tokio::time::interval(Duration::from_millis(100));
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            attempts.tick().await;
        }
    };
    within("the echo server", listening).await;
    (server, address)
}

fn wstest(args: &[&str]) -> Command {
    let mut command = Command::new(installed("bin/wstest"));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

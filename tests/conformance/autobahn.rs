//! Autobahn's suite for WebSockets: its fuzzing client against its own echo server, through the proxy and without it. The
//! two agree on permessage-deflate, so that the compressed cases are compressed on both legs. A credential is injected,
//! so that both directions are unfolded, judged or masked, and framed anew.
//!
//! `AUTOBAHN_CASES` (`*` or a list as `9.*,12.1.1`) says which cases; without it, those of `CASES`.

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

/// `NON-STRICT`: met, in a way that the standard leaves open. `INFORMATIONAL`: nothing is asked for.
const GOOD: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

/// All but the compressed cases (12 and 13, each a thousand messages), which take long without the proxy as well.
const CASES: &str = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autobahn_is_met() {
    let pki = Pki::new();
    let route = "host: 127.0.0.1, ports: any, auth: {scheme: Bearer, token_env: TOKEN}";
    let setup = Setup::new(&routes([route])).trusting(&pki).env("TOKEN", "tok-autobahn-0f9b2c7d41e85a36");
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
        "exclude-agent-cases": {},
    });
    let file = proxy.files().join("autobahn.json");
    std::fs::write(&file, spec.to_string()).expect("the test's folder is writable");
    let run = wstest(&["-m", "fuzzingclient", "-s", file.to_str().expect("ASCII")]).output().await.expect("it runs");
    let index = std::fs::read(reports.join("index.json"));
    let index = index.unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&run.stderr)));
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    judge("Autobahn, without the proxy", &verdicts(&index[DIRECT]), &GOOD, &[]);
    judge("Autobahn", &verdicts(&index[PROXIED]), &GOOD, &EXPLAINED);
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

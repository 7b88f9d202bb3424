//! Autobahn's suite for WebSockets: its fuzzing client through the proxy against its own echo server. The two agree on
//! permessage-deflate, so that the compressed cases are compressed on both legs.

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

/// Why a case is not met.
const EXPLAINED: [(&str, &str); 0] = [];

/// `NON-STRICT`: met, later than it could be. `INFORMATIONAL`: nothing is asked for.
const GOOD: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autobahn_is_met() {
    let pki = Pki::new();
    let proxy = Proxy::start(Setup::new(&routes(["host: 127.0.0.1, ports: any"])).trusting(&pki)).await;
    let (_echo, address) = echo_server().await;
    let (listener, port) = listen().await;
    serve(listener, proxy.client(), Behind::InClear(address, pki.server(&["127.0.0.1"], &["http/1.1"])));
    let reports = proxy.files().join("autobahn");
    let spec = json!({
        "outdir": reports,
        "servers": [{"agent": "egress-proxy", "url": format!("wss://127.0.0.1:{port}")}],
        "cases": [std::env::var("AUTOBAHN_CASES").unwrap_or("*".into())],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let file = proxy.files().join("autobahn.json");
    std::fs::write(&file, spec.to_string()).expect("the test's folder is writable");
    let run = wstest(&["-m", "fuzzingclient", "-s", file.to_str().expect("ASCII")]).output().await.expect("it runs");
    let index = std::fs::read(reports.join("index.json"));
    let index = index.unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&run.stderr)));
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let cases = index["egress-proxy"].as_object().expect("the report is about the proxy");
    let verdicts: Verdicts = cases
        .iter()
        .map(|(case, told)| {
            let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
            let (behavior, closing) = (text("behavior"), text("behaviorClose"));
            let closed = GOOD.contains(&closing.as_str());
            (case.clone(), if closed { behavior } else { format!("{behavior}, closed: {closing}") })
        })
        .collect();
    judge("Autobahn", &verdicts, &GOOD, &EXPLAINED);
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

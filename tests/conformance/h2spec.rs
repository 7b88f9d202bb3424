//! h2spec: HTTP/2 (RFC 9113) and HPACK (RFC 7541) as the proxy serves them inside a tunnel.

use std::process::Stdio;

use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use tokio::process::Command;

use crate::front::{Behind, listen, serve};
use crate::{Verdicts, installed, judge};

/// Why a case is not met, by section and number.
const EXPLAINED: [(&str, &str); 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2spec_is_met() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "127.0.0.1").await;
    let proxy = Proxy::start(Setup::new(&routes(["host: 127.0.0.1, ports: any"])).trusting(&pki)).await;
    let (listener, port) = listen().await;
    serve(listener, proxy.client(), Behind::Itself(origin.address()));
    let report = proxy.files().join("h2spec.xml");
    let run = Command::new(installed("bin/h2spec"))
        .args(["--tls", "--insecure", "--strict", "--timeout", "5", "--host", "127.0.0.1", "--port", &port.to_string()])
        .arg("--junit-report")
        .arg(&report)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("h2spec runs");
    let report = std::fs::read_to_string(&report).expect("h2spec writes its report");
    let verdicts = verdicts(&report);
    assert!(verdicts.len() > 140, "{}", String::from_utf8_lossy(&run.stdout));
    assert!(!origin.seen().arrivals().is_empty(), "requests went to the origin");
    assert_eq!(run.status.success(), EXPLAINED.is_empty(), "{}", String::from_utf8_lossy(&run.stdout));
    judge("h2spec", &verdicts, &["passed"], &EXPLAINED);
}

/// The cases of a JUnit report as h2spec writes it: `<testcase package="http2/4.1" classname="TITLE" …>` with a
/// `<failure>`, an `<error>`, a `<skipped>` or nothing in it.
fn verdicts(report: &str) -> Verdicts {
    let mut verdicts = Verdicts::new();
    for case in report.split("<testcase ").skip(1) {
        let attribute = |name: &str| {
            let rest = case.split_once(&format!("{name}=\"")).map(|(_, rest)| rest).unwrap_or_default();
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let verdict = ["failure", "error", "skipped"].into_iter().find(|kind| case.contains(&format!("<{kind}")));
        let name = format!("{}: {}", attribute("package"), attribute("classname"));
        verdicts.insert(name, verdict.unwrap_or("passed").to_owned());
    }
    verdicts
}

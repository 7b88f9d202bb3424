//! Python: requests, httpx and websockets.

use harness::origin::Origin;
use harness::pki::Pki;
use harness::programs::Program;
use harness::proxy::{Proxy, Setup, routes};

use crate::{Granted, is_refusal};

#[tokio::test]
async fn requests_reaches_a_granted_host() {
    let granted = Granted::start().await;
    let ran = python("with_requests.py").through(&granted.proxy).arg(granted.echo()).run().await;
    assert!(ran.output().starts_with("200\n"), "{}", ran.output());
    granted.is_echo(ran.output());
}

#[tokio::test]
async fn requests_reads_why_another_host_is_refused() {
    let granted = Granted::start().await;
    let ran = python("with_requests.py").through(&granted.proxy).arg(granted.elsewhere()).run().await;
    assert!(ran.output().starts_with("403\n"), "{}", ran.output());
    is_refusal(ran.output());
}

#[tokio::test]
async fn httpx_reaches_a_granted_host_over_http_2() {
    let granted = Granted::start().await;
    let ran = python("with_httpx.py").through(&granted.proxy).arg(granted.echo()).run().await;
    assert!(ran.output().starts_with("HTTP/2 200\n"), "{}", ran.output());
    granted.is_echo(ran.output());
}

#[tokio::test]
async fn httpx_reads_why_another_host_is_refused() {
    let granted = Granted::start().await;
    let ran = python("with_httpx.py").through(&granted.proxy).arg(granted.elsewhere()).run().await;
    assert!(ran.output().starts_with("HTTP/2 403\n"), "{}", ran.output());
    is_refusal(ran.output());
}

#[tokio::test]
async fn a_web_socket_client_talks_to_a_granted_host() {
    let pki = Pki::new();
    let origin = Origin::https_h1(&pki, "ws.localhost").await;
    let proxy = Proxy::start(Setup::new(&routes(["host: ws.localhost, ports: any"])).trusting(&pki)).await;
    let url = origin.url("/ws").replacen("https", "wss", 1);
    let ran = python("with_websockets.py").through(&proxy).arg(url).run().await;
    assert_eq!(ran.output(), "hello\n");
}

#[tokio::test]
async fn a_web_socket_client_reads_why_another_host_is_refused() {
    let granted = Granted::start().await;
    let url = granted.elsewhere().replacen("https", "wss", 1);
    let ran = python("with_websockets.py").through(&granted.proxy).arg(url).run().await;
    assert!(ran.output().starts_with("403\n"), "{}", ran.output());
    is_refusal(ran.output());
}

fn python(program: &str) -> Program {
    let path = format!("{}/clients/programs/{program}", env!("CARGO_MANIFEST_DIR"));
    Program::client("python/bin/python").arg(path)
}

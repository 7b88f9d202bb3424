//! Go's net/http.

use harness::programs::Program;

use crate::{Granted, is_refusal};

#[tokio::test]
async fn go_reaches_a_granted_host() {
    let granted = Granted::start().await;
    let ran = Program::client("go-fetch").through(&granted.proxy).arg(granted.echo()).run().await;
    assert!(ran.output().starts_with("HTTP/2.0 200\n"), "{}", ran.output());
    granted.is_echo(ran.output());
}

#[tokio::test]
async fn go_reads_why_another_host_is_refused() {
    let granted = Granted::start().await;
    let ran = Program::client("go-fetch").through(&granted.proxy).arg(granted.elsewhere()).run().await;
    assert!(ran.output().starts_with("HTTP/2.0 403\n"), "{}", ran.output());
    is_refusal(ran.output());
}

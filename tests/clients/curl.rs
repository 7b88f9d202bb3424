//! curl, over both protocols.

use harness::programs::Program;

use crate::{Granted, is_refusal};

#[tokio::test]
async fn curl_over_http_1_reaches_a_granted_host() {
    let granted = Granted::start().await;
    let curl = Program::installed("curl").through(&granted.proxy);
    let ran = curl.args(["-sS", "--http1.1", "-w", "%{http_version}"]).arg(granted.echo()).run().await;
    assert!(ran.output().ends_with("1.1"), "{}", ran.output());
    granted.is_echo(ran.output());
}

#[tokio::test]
async fn curl_over_http_2_reaches_a_granted_host() {
    let granted = Granted::start().await;
    let curl = Program::installed("curl").through(&granted.proxy);
    let ran = curl.args(["-sS", "--http2", "-w", "%{http_version}"]).arg(granted.echo()).run().await;
    assert!(ran.output().ends_with('2'), "{}", ran.output());
    granted.is_echo(ran.output());
}

#[tokio::test]
async fn curl_reads_why_another_host_is_refused() {
    let granted = Granted::start().await;
    let curl = Program::installed("curl").through(&granted.proxy);
    let ran = curl.args(["-sS", "-w", "%{http_code}"]).arg(granted.elsewhere()).run().await;
    is_refusal(ran.output());
    assert!(ran.output().ends_with("403"), "{}", ran.output());
    granted.origin.saw_nothing();
}

#[tokio::test]
async fn curl_uploads_a_file_that_it_announced() {
    let granted = Granted::start().await;
    let curl = Program::installed("curl").through(&granted.proxy);
    std::fs::write(curl.home().join("file"), vec![b'.'; 3_000_000]).expect("the folder is writable");
    let curl = curl.args(["-sS", "-H", "Expect: 100-continue", "-T", "file"]).arg(granted.origin.url("/upload"));
    assert_eq!(curl.run().await.output(), "3000000");
}

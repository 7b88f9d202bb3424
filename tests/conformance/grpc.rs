//! gRPC's interoperability tests: the Go client through the proxy to the Go server.

use std::process::Stdio;

use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::front::listen;
use crate::{Verdicts, installed, judge};

/// The cases of the client that need no accounts of a cloud and that its own server meets without a proxy.
const CASES: [&str; 16] = [
    "cancel_after_begin",
    "cancel_after_first_response",
    "channel_soak",
    "client_streaming",
    "custom_metadata",
    "empty_stream",
    "empty_unary",
    "large_unary",
    "ping_pong",
    "rpc_soak",
    "server_streaming",
    "special_status_message",
    "status_code_and_message",
    "timeout_on_sleeping_server",
    "unimplemented_method",
    "unimplemented_service",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_interop_is_met() {
    let pki = Pki::new();
    let proxy = Proxy::start(Setup::new(&routes(["host: grpc.localhost, ports: any"])).trusting(&pki)).await;
    let (certificate, key) = pki.server_pem(&["grpc.localhost"]);
    let file = |name: &str, content: &str| {
        let path = proxy.files().join(name);
        std::fs::write(&path, content).expect("the test's folder is writable");
        path
    };
    let (listener, port) = listen().await;
    drop(listener);
    let mut server = Command::new(installed("bin/grpc-interop-server"));
    server.args(["-use_tls", "-port", &port.to_string(), "-tls_cert_file"]).arg(file("server.pem", &certificate));
    server.arg("-tls_key_file").arg(file("server.key", &key)).env("GRPC_GO_LOG_SEVERITY_LEVEL", "info");
    let mut server = server.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it runs");
    let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines();
    let listening = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("ListenSocket created") {
                return;
            }
        }
        panic!("the server did not start");
    };
    within("the server", listening).await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });

    let mut verdicts = Verdicts::new();
    for case in CASES {
        let mut client = Command::new(installed("bin/grpc-interop-client"));
        client.args(["-use_tls", "-use_test_ca", "-server_host", "grpc.localhost", "-server_port", &port.to_string()]);
        client.args(["-test_case", case, "-ca_file"]).arg(proxy.ca_file());
        // Long enough for a machine that is busy.
        client.args(["-soak_overall_timeout_seconds", "60", "-soak_per_iteration_max_acceptable_latency_ms", "10000"]);
        client.env("HTTPS_PROXY", format!("http://{}", proxy.address())).stdin(Stdio::null()).kill_on_drop(true);
        let told = match tokio::time::timeout(std::time::Duration::from_secs(90), client.output()).await {
            Ok(Ok(ran)) if ran.status.success() => "passed".to_owned(),
            Ok(Ok(ran)) => String::from_utf8_lossy(&ran.stderr).into_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it hangs".to_owned(),
        };
        verdicts.insert(case.to_owned(), told);
    }
    judge("gRPC interop", &verdicts, &["passed"], &[]);
}

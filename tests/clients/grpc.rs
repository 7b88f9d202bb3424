//! grpcio, as client and as server: every kind of call, through the proxy and back.

use harness::pki::Pki;
use harness::programs::Program;
use harness::proxy::{Proxy, Setup, routes};
use serde_json::{Value, json};

use crate::CREDENTIAL;

#[tokio::test]
async fn every_kind_of_grpc_call_goes_through() {
    let pki = Pki::new();
    let route = "host: grpc.localhost, ports: any, auth: {scheme: Bearer, token_env: TOKEN}";
    let setup = Setup::new(&routes([route])).trusting(&pki).env("TOKEN", CREDENTIAL);
    let (certificate, key) = pki.server_pem(&["grpc.localhost"]);
    setup.write("grpc.pem", &certificate);
    setup.write("grpc.key", &key);
    let (certificate, key) = (setup.path("grpc.pem"), setup.path("grpc.key"));
    let proxy = Proxy::start(setup).await;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/programs/with_grpc.py");
    let python = Program::client("python/bin/python").through(&proxy).arg(program);
    let ran = python.arg(certificate).arg(key).arg("grpc.localhost").run().await;
    let calls: Vec<Value> = ran.output().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        calls,
        [
            json!({"call": "unary, NoCompression", "value": [true, "true", true]}),
            json!({"call": "unary, Deflate", "value": [true, "true", true]}),
            json!({"call": "unary, Gzip", "value": [true, "true", true]}),
            json!({"call": "join", "value": 100_001}),
            json!({"call": "count", "value": 1000}),
            json!({"call": "echo", "value": [true, true, true, true, true]}),
            json!({"call": "fail", "value": ["FAILED_PRECONDITION", "not now: \u{e9}"]}),
            json!({"call": "nowhere", "value": "UNIMPLEMENTED"}),
            json!({"call": "deadline", "value": ["DEADLINE_EXCEEDED", true]}),
            json!({"call": "cancel", "value": true}),
        ],
        "{}",
        ran.stderr
    );
}

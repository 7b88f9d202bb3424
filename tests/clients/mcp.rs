//! The official Python client of the Model Context Protocol, at the supervise sidecar.

use harness::programs::Program;
use harness::supervise::Sidecar;
use serde_json::json;

#[tokio::test]
async fn the_official_client_proposes_a_route_and_reads_the_decision() {
    let mut sidecar = Sidecar::start(45).await;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/programs/with_mcp.py");
    let client = tokio::spawn(Program::client("python/bin/python").arg(program).arg(sidecar.url()).run());
    assert_eq!(sidecar.asked().await["proposal"]["host"], "docs.example");
    sidecar.answer(json!({"number": 1, "outcome": "approved"})).await;
    let ran = client.await.expect("the client ends");
    assert!(
        ran.output().starts_with("await_decision propose_route\nFalse proposal 1 was approved"),
        "{}",
        ran.output()
    );
}

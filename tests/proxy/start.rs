//! A proxy that cannot do what it was told says what is wrong, and how to put it right, and does not start.

use std::os::unix::fs::PermissionsExt;

use harness::proxy::{Proxy, Setup, routes};
use tokio::net::TcpListener;

/// Our own failures.
const FAILED: i32 = 125;

/// Wrong usage.
const USAGE: i32 = 2;

async fn refused(setup: Setup) -> harness::proxy::Ended {
    match Proxy::try_start(setup).await {
        Err(ended) => ended,
        Ok(_) => panic!("the proxy started"),
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let setup = Setup::new(&routes([])).without("--listen").arg("--listen").arg(&address);
    refused(setup).await.says(FAILED, &["error:", &address]);
}

#[tokio::test]
async fn a_missing_table_is_named() {
    let setup = Setup::new(&routes([])).arg("--routes").arg("/nowhere/routes.yaml");
    refused(setup).await.says(FAILED, &["error:", "/nowhere/routes.yaml"]);
}

#[tokio::test]
async fn errors_in_a_table_are_located() {
    let cases = [
        ("routes:\n  - {host: a.localhost, path_allowlst: [/x]}\n", ["routes.yaml:2", "path_allowlist"]),
        ("routes:\n  - {host: a.localhost}\n  - {host: a.localhost}\n", ["routes.yaml:3", "a.localhost"]),
        ("routes:\n  - {host: '*'}\n", ["routes.yaml:2", "*"]),
        ("routes:\n  - {host: a.localhost, auth: {scheme: Bearer}}\n", ["routes.yaml:2", "token_env"]),
        ("routes:\n  - {host: a.localhost, auth: {scheme: Berer, token_env: T}}\n", ["routes.yaml:2", "Bearer"]),
        ("routes:\n  - {host: a.localhost, path_allowlist: [/x], matches: []}\n", ["routes.yaml:2", "matches"]),
        ("routes: [\n", ["routes.yaml:", "error:"]),
    ];
    for (table, words) in cases {
        refused(Setup::new(table)).await.says(FAILED, &words);
    }
}

#[tokio::test]
async fn a_missing_token_is_named_and_a_short_one_refused() {
    let table = routes(["host: a.localhost, auth: {scheme: Bearer, token_env: MY_TOKEN}"]);
    refused(Setup::new(&table)).await.says(FAILED, &["MY_TOKEN"]);
    refused(Setup::new(&table).env("MY_TOKEN", "")).await.says(FAILED, &["MY_TOKEN"]);
    let ended = refused(Setup::new(&table).env("MY_TOKEN", "short77")).await;
    ended.says(FAILED, &["MY_TOKEN", "8"]);
    assert!(!ended.stderr.contains("short77"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_broken_trust_file_is_named() {
    let setup = Setup::new(&routes([]));
    setup.write("broken.pem", "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n");
    let file = setup.path("broken.pem");
    refused(setup.arg("--upstream-ca").arg(&file)).await.says(FAILED, &["error:", "broken.pem"]);
    refused(Setup::new(&routes([])).arg("--upstream-ca").arg("/nowhere/ca.pem"))
        .await
        .says(FAILED, &["/nowhere/ca.pem"]);
}

#[tokio::test]
async fn a_broken_ca_is_named() {
    let setup = Setup::new(&routes([])).without("--ca-dir");
    setup.write("ca.pem", "no certificate");
    setup.write("ca-key.pem", "no key");
    let (certificate, key) = (setup.path("ca.pem"), setup.path("ca-key.pem"));
    let setup = setup.arg("--ca-cert").arg(certificate).arg("--ca-key").arg(key);
    refused(setup).await.says(FAILED, &["error:", "ca.pem"]);
}

#[tokio::test]
async fn a_ca_that_is_made_has_a_private_key_for_its_owner_alone() {
    let proxy = Proxy::start(Setup::new(&routes([]))).await;
    let keys = std::fs::read_dir(proxy.files().join("ca")).expect("the folder was made");
    let mut private = 0;
    for entry in keys {
        let path = entry.expect("readable").path();
        if std::fs::read_to_string(&path).expect("readable").contains("PRIVATE KEY") {
            let mode = path.metadata().expect("readable").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
            private += 1;
        }
    }
    assert_eq!(private, 1);
}

#[tokio::test]
async fn wrong_flags_are_usage_errors() {
    refused(Setup::new(&routes([])).arg("--no-such-flag")).await.says(USAGE, &["--no-such-flag"]);
    refused(Setup::new(&routes([])).arg("--scan").arg("sometimes")).await.says(USAGE, &["sometimes"]);
    let setup = Setup::new(&routes([])).arg("--allow-upstream-cidr").arg("not a range");
    refused(setup).await.says(USAGE, &["not a range"]);
}

#[tokio::test]
async fn an_inspector_needs_an_address_that_it_can_return_to() {
    let inspected = |listen: &str| {
        Setup::new(&routes([])).arg("--inspect").arg("http://127.0.0.1:1").arg("--inspect-listen").arg(listen)
    };
    let ended = refused(inspected("0.0.0.0:0")).await;
    assert!(ended.stderr.contains("--inspect-return"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_broken_first_document_on_stdin_is_an_error_without_its_values() {
    let setup = Setup::new(&routes([])).stdin(r#"{"tokens": {"T": "very-secret-value"}, "rutes": {}}"#);
    let ended = refused(setup).await;
    ended.says(FAILED, &["stdin", "column"]);
    assert!(!ended.stderr.contains("very-secret-value"), "{}", ended.stderr);
}

//! pip and npm, each with a registry of the test's own.

use std::path::Path;

use harness::origin::{Content, Origin, full};
use harness::pki::Pki;
use harness::programs::Program;
use http::{HeaderValue, Response};
use tempfile::TempDir;

use crate::Granted;

const WHEEL: &str = "demo-1.0-py3-none-any.whl";
const TARBALL: &str = "demo-1.0.0.tgz";

#[tokio::test]
async fn pip_installs_from_a_granted_index() {
    let granted = index().await;
    let pip = Program::client("python/bin/pip").through(&granted.proxy);
    let pip = pip.args(["install", "--disable-pip-version-check", "--no-cache-dir", "--target", "into", "--index-url"]);
    let (ran, home) = pip.arg(granted.origin.url("/simple/")).arg("demo").run_and_keep().await;
    ran.output();
    assert!(home.path().join("into/demo.py").exists(), "{}", ran.stdout);
}

#[tokio::test]
async fn npm_installs_from_a_granted_registry() {
    let granted = index().await;
    let npm = Program::installed("npm").through(&granted.proxy);
    std::fs::write(npm.home().join("package.json"), "{}").expect("the folder is writable");
    let npm =
        npm.args(["install", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0", "--registry"]);
    let (ran, home) = npm.arg(granted.origin.url("/npm/")).arg("demo").run_and_keep().await;
    ran.output();
    assert!(home.path().join("node_modules/demo/index.js").exists(), "{}", ran.stdout);
}

/// One origin that is both registries.
async fn index() -> Granted {
    let packages = TempDir::new().expect("a temporary folder");
    let writer = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/programs/index.py");
    Program::installed("python3").arg(writer).arg(packages.path()).run().await.output();
    let pki = Pki::new();
    let opening = Origin::opening("index.localhost").tls(pki.server(&["index.localhost"], &["h2", "http/1.1"]));
    let answering = opening.answering(move |request, site| {
        let (parts, body) = request.into_parts();
        site.seen.arrived(&parts, body);
        let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).map(str::to_owned);
        let authority = host.or(parts.uri.authority().map(ToString::to_string)).unwrap_or_default();
        let response = answer(parts.uri.path(), &authority, packages.path());
        async move { response }
    });
    Granted::to(&pki, answering.start().await).await
}

fn answer(path: &str, authority: &str, packages: &Path) -> Response<Content> {
    match path {
        "/simple/demo/" => with_type("text/html", format!("<a href=\"/{WHEEL}\">{WHEEL}</a>").into_bytes()),
        "/npm/demo" => {
            let tarball = format!("https://{authority}/{TARBALL}");
            let version = format!(r#"{{"name":"demo","version":"1.0.0","dist":{{"tarball":"{tarball}"}}}}"#);
            let told =
                format!(r#"{{"name":"demo","dist-tags":{{"latest":"1.0.0"}},"versions":{{"1.0.0":{version}}}}}"#);
            with_type("application/json", told.into_bytes())
        }
        file => match std::fs::read(packages.join(file.trim_start_matches('/'))) {
            Ok(bytes) => with_type("application/octet-stream", bytes),
            Err(_) => {
                let mut missing = with_type("text/plain", b"nothing here".to_vec());
                *missing.status_mut() = http::StatusCode::NOT_FOUND;
                missing
            }
        },
    }
}

fn with_type(media: &'static str, bytes: Vec<u8>) -> Response<Content> {
    let mut response = Response::new(full(bytes));
    response.headers_mut().insert("content-type", HeaderValue::from_static(media));
    response
}

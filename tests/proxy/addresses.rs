//! What a name resolves to is checked before it is dialled.

use harness::origin::Origin;
use harness::pipelock::{Answers, Inspector};
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use serde_json::json;

use crate::says;

/// Private, shared, link-local, metadata, documentation, multicast, broadcast, unspecified; and ways to write loopback.
const PROHIBITED: [&str; 14] = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "[::1]",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
];

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let setup = Setup::new(&routes(["host: api.localhost, ports: any"])).without("--allow-upstream-cidr");
    let mut proxy = Proxy::start(setup.trusting(&pki)).await;
    proxy.client().get(&origin.url("/echo")).await.says(403, &["may not be dialled", "loopback"]);
    says(&proxy.exchange().await, json!({"outcome": "denied", "error": "address_prohibited"}));
    origin.saw_nothing();
}

#[tokio::test]
async fn addresses_that_are_not_of_the_public_internet_are_refused() {
    let table: String = PROHIBITED.iter().map(|host| format!("  - {{host: \"{host}\", ports: any}}\n")).collect();
    let setup = Setup::new(&format!("routes:\n{table}")).without("--allow-upstream-cidr");
    let mut proxy = Proxy::start(setup).await;
    for host in PROHIBITED {
        let answer = proxy.client().get(&format!("http://{host}:9/")).await;
        assert_eq!(answer.status.as_u16(), 403, "{host}: {}", answer.text());
        says(&proxy.exchange().await, json!({"error": "address_prohibited"}));
    }
}

#[tokio::test]
async fn a_range_that_is_opened_opens_no_other() {
    let setup = Setup::new(&routes(["host: 127.0.0.1, ports: any", "host: 127.9.9.9, ports: any"]));
    let setup = setup.without("--allow-upstream-cidr").arg("--allow-upstream-cidr").arg("127.9.9.0/24");
    let proxy = Proxy::start(setup).await;
    proxy.client().get("http://127.0.0.1:9/").await.says(403, &[]);
    proxy.client().get("http://127.9.9.9:9/").await.says(502, &[]);
}

#[tokio::test]
async fn the_proxys_own_listeners_cannot_be_reached_through_it() {
    let inspector = Inspector::stand_in(Answers::Unscanned).await;
    let setup = inspector.asked_by(Setup::new(&routes(["host: 127.0.0.1, ports: any, inspect: off"])));
    let proxy = Proxy::start(setup.arg("--admin").arg("127.0.0.1:0")).await;
    for listener in [proxy.address(), proxy.inner_face(), proxy.admin()] {
        proxy.client().get(&format!("http://{listener}/healthz")).await.says(403, &["may not be dialled"]);
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_502() {
    let mut proxy = Proxy::start(Setup::new(&routes(["host: nowhere.invalid"]))).await;
    proxy.client().get("https://nowhere.invalid/").await.says(502, &["nowhere.invalid"]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "error": "dns_error"}));
}

#[tokio::test]
async fn an_origin_whose_certificate_nobody_vouches_for_is_a_502() {
    let origin = Origin::https(&Pki::new(), "api.localhost").await;
    let mut proxy = Proxy::start(Setup::new(&routes(["host: api.localhost, ports: any"]))).await;
    let answer = proxy.client().get(&origin.url("/echo")).await;
    answer.says(502, &["certificate"]);
    let record = proxy.exchange().await;
    says(&record, json!({"outcome": "failed", "error": "tls_certificate_error"}));
    // What exactly is wrong with it is the operator's to read.
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("UnknownIssuer")), "{record}");
    assert!(!answer.text().contains("UnknownIssuer"), "{}", answer.text());
    origin.saw_no_request();
}

#[tokio::test]
async fn an_origin_with_another_name_is_a_502() {
    let pki = Pki::new();
    let opening = Origin::opening("api.localhost").tls(pki.server(&["other.localhost"], &["http/1.1"]));
    let origin = opening.start().await;
    let proxy = Proxy::start(Setup::new(&routes(["host: api.localhost, ports: any"])).trusting(&pki)).await;
    proxy.client().get(&origin.url("/echo")).await.says(502, &["certificate"]);
    origin.saw_no_request();
}

//! Another table, another credential: in force without a restart, or not at all.

use bytes::Bytes;
use harness::client::{Client, get, post, with};
use harness::origin::{End, Origin};
use harness::pki::Pki;
use harness::programs::Program;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use http::Request;
use http_body_util::BodyExt;
use rustix::process::Signal;
use serde_json::json;

use crate::streaming::upload;
use crate::{AWS_KEY, CREDENTIAL, Stage, says};

#[tokio::test]
async fn sighup_puts_a_new_table_in_force() {
    let mut stage = Stage::granting("path_allowlist: [/old]").await;
    stage.client().get(&stage.url("/new")).await.says(403, &[]);
    stage.proxy.write_routes(&routes(["host: api.localhost, ports: any, path_allowlist: [/new]"]));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    stage.client().get(&stage.url("/new")).await.says(200, &[]);
    stage.client().get(&stage.url("/old")).await.says(403, &[]);
}

#[tokio::test]
async fn a_change_on_disk_puts_a_new_table_in_force() {
    let mut stage = Stage::granting("path_allowlist: [/old]").await;
    stage.proxy.write_routes(&routes(["host: api.localhost, ports: any, path_allowlist: [/new]"]));
    stage.proxy.event("routes.reloaded").await;
    stage.client().get(&stage.url("/new")).await.says(200, &[]);
}

#[tokio::test]
async fn a_credential_file_that_changes_is_read_again() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let setup = Setup::bare();
    let file = setup.path("token");
    setup.write("token", CREDENTIAL);
    let route = format!("host: api.localhost, ports: any, auth: {{scheme: Bearer, token_file: {file}}}");
    let mut proxy = Proxy::start(Setup::new(&routes([&route])).trusting(&pki)).await;
    setup.write("token.new", "another-credential-0123456789");
    std::fs::rename(setup.path("token.new"), &file).expect("the folder is writable");
    proxy.event("routes.reloaded").await;
    proxy.client().get(&origin.url("/echo")).await.says(200, &[]);
    let arrival = origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some("Bearer another-credential-0123456789"));
}

#[tokio::test]
async fn a_table_that_cannot_be_read_keeps_the_old_one() {
    for broken in ["routes: [", "routes:\n  - {host: api.localhost, path_allowlst: [/x]}\n", "routes: [{host: '*'}]"] {
        let mut stage = Stage::granting("path_allowlist: [/old]").await;
        stage.proxy.write_routes(broken);
        stage.proxy.signal(Signal::HUP);
        let event = stage.proxy.event("routes.rejected").await;
        assert!(event.to_string().contains("routes.yaml:"), "{event}");
        stage.client().get(&stage.url("/old")).await.says(200, &[]);
        stage.client().get(&stage.url("/new")).await.says(403, &[]);
    }
}

#[tokio::test]
async fn a_table_that_disappears_keeps_the_old_one() {
    let mut stage = Stage::granting("path_allowlist: [/old]").await;
    std::fs::remove_file(stage.proxy.files().join("routes.yaml")).expect("it was there");
    stage.proxy.event("routes.rejected").await;
    stage.client().get(&stage.url("/old")).await.says(200, &[]);
}

#[tokio::test]
async fn the_agent_cannot_see_a_table_that_was_rejected() {
    let mut stage = Stage::granting("").await;
    stage.proxy.write_routes("routes: [{host: secret.localhost, nonsense: 1}]");
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.rejected").await;
    let answer = stage.client().get("http://_egress-proxy.local/allowlist").await;
    assert!(!answer.text().contains("secret.localhost"), "{}", answer.text());
}

#[tokio::test]
async fn streams_that_are_no_longer_granted_are_closed() {
    let mut stage = Stage::granting("").await;
    let response = stage.client().open(get(&stage.url("/feed"))).await.expect("an answer");
    let mut body = response.into_body();
    stage.origin.feed("data: 1\n\n");
    within("the first event", body.frame()).await.expect("open").expect("no failure");
    stage.proxy.write_routes(&routes([]));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    within("the end of the stream", body.collect()).await.expect_err("it is cut, not ended");
}

#[tokio::test]
async fn streams_that_are_still_granted_go_on() {
    let mut stage = Stage::granting("").await;
    let response = stage.client().open(get(&stage.url("/feed"))).await.expect("an answer");
    let mut body = response.into_body();
    stage.proxy.write_routes(&routes(["host: api.localhost, ports: any, path_allowlist: [/feed]"]));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    stage.origin.feed("data: 1\n\n");
    within("an event", body.frame()).await.expect("open").expect("no failure");
}

#[tokio::test]
async fn streams_are_judged_again_by_the_fields_of_their_request() {
    let team = |team: &str| format!("matches: [{{headers: [{{name: x-team, value: {team}}}]}}]");
    let table = |rest: &str| routes([&*format!("host: api.localhost, ports: any, {rest}")]);
    let mut stage = Stage::granting(&team("a")).await;
    let response = stage.client().open(with(get(&stage.url("/feed")), "x-team", "a")).await.expect("an answer");
    let mut body = response.into_body();
    stage.proxy.write_routes(&table(&format!("scan: record, {}", team("a"))));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    stage.origin.feed("data: 1\n\n");
    within("an event", body.frame()).await.expect("open").expect("no failure");
    stage.proxy.write_routes(&table(&team("b")));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    within("the end of the stream", body.collect()).await.expect_err("it is cut, not ended");
}

#[tokio::test]
async fn a_table_on_stdin_brings_its_credentials_and_its_ca() {
    let fixture = Fixture::start(CREDENTIAL).await;
    fixture.client.get(&fixture.origin.url("/echo")).await.says(200, &[]);
    assert_eq!(fixture.authorization().await, format!("Bearer {CREDENTIAL}"));
}

#[tokio::test]
async fn a_later_document_on_stdin_replaces_what_it_names() {
    let mut fixture = Fixture::start(CREDENTIAL).await;
    let rotated = "another-credential-0123456789";
    fixture.proxy.write_line(&json!({"tokens": {"EGRESS_PROXY_TOKEN_0": rotated}}).to_string()).await;
    fixture.proxy.event("routes.reloaded").await;
    fixture.client.get(&fixture.origin.url("/echo")).await.says(200, &[]);
    assert_eq!(fixture.authorization().await, format!("Bearer {rotated}"));
}

#[tokio::test]
async fn scan_rules_on_stdin_are_in_force_and_broken_ones_keep_the_old() {
    let mut fixture = Fixture::start(CREDENTIAL).await;
    let url = fixture.origin.url("/echo");
    let code = "acme-4711-0815-4711";
    fixture.client.send(post(&url, code)).await.says(200, &[]);
    let rules =
        "[extend]\nuseDefault = true\n[[rules]]\nid = \"acme-code\"\nregex = 'acme-[0-9-]{14}'\nkeywords = ['acme-']\n";
    fixture.proxy.write_line(&json!({"scan_rules": rules}).to_string()).await;
    fixture.proxy.event("routes.reloaded").await;
    fixture.client.send(post(&url, code)).await.says(403, &["acme-code"]);
    fixture.client.send(post(&url, AWS_KEY)).await.says(403, &["aws-access-key"]);
    fixture.proxy.write_line(&json!({"scan_rules": "[[rules]]\nid = 1"}).to_string()).await;
    fixture.proxy.event("routes.rejected").await;
    fixture.client.send(post(&url, code)).await.says(403, &["acme-code"]);
}

#[tokio::test]
async fn a_broken_document_on_stdin_keeps_the_old_table() {
    let mut fixture = Fixture::start(CREDENTIAL).await;
    fixture.proxy.write_line("{not json").await;
    fixture.proxy.event("routes.rejected").await;
    fixture.client.get(&fixture.origin.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn the_end_of_stdin_changes_nothing() {
    let mut fixture = Fixture::start(CREDENTIAL).await;
    fixture.proxy.close_stdin();
    fixture.client.get(&fixture.origin.url("/echo")).await.says(200, &[]);
    fixture.client.get(&fixture.origin.url("/echo")).await.says(200, &[]);
}

/// A proxy that got everything on its stdin.
struct Fixture {
    origin: Origin,
    proxy: Proxy,
    client: Client,
}

impl Fixture {
    async fn start(credential: &str) -> Self {
        let pki = Pki::new();
        let origin = Origin::https(&pki, "api.localhost").await;
        let made = Setup::bare();
        let folder = made.path("ca");
        Program::tested("egress-proxy-under-test").args(["ca", "init", "--ca-dir", &folder]).run().await.output();
        let file = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).expect("it was made");
        let auth = json!({"scheme": "Bearer", "token_env": "EGRESS_PROXY_TOKEN_0"});
        let document = json!({
            "routes": {"routes": [{"host": "api.localhost", "ports": "any", "auth": auth}]},
            "tokens": {"EGRESS_PROXY_TOKEN_0": credential},
            "ca": {"cert": file("ca.pem"), "key": file("ca-key.pem")},
        });
        let setup = Setup::new(&routes([])).without("--ca-dir").trusting(&pki).stdin(&document.to_string());
        let proxy = Proxy::start(setup).await;
        let client = Client::new(proxy.address(), file("ca.pem"));
        Self { origin, proxy, client }
    }

    async fn authorization(&self) -> String {
        let arrival = self.origin.next_arrival().await;
        arrival.value("authorization").expect("a credential").to_owned()
    }
}

#[tokio::test]
async fn an_upload_that_is_no_longer_granted_is_cut() {
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let mut stage = Stage::granting("").await;
        let (pieces, content) = upload();
        let request = Request::post(stage.url("/upload")).body(content).expect("a request");
        let client = client(stage.client());
        let answering = tokio::spawn(async move { client.try_send(request).await });
        pieces.send(Bytes::from(vec![b' '; 64 * 1024])).await.expect("the client reads");
        let arrival = stage.origin.next_arrival().await;
        stage.proxy.write_routes(&routes([]));
        stage.proxy.signal(Signal::HUP);
        stage.proxy.event("routes.reloaded").await;
        // The client goes on for as long as it is let.
        assert_eq!(arrival.received().await.end, End::Broken);
        says(&stage.proxy.exchange().await, json!({"outcome": "denied", "error": "revoked"}));
        drop(pieces);
        let _ = answering.await;
    }
}

#[tokio::test]
async fn an_exchange_that_waits_for_its_answer_ends_when_it_is_no_longer_granted() {
    let pki = Pki::new();
    let silent = Origin::opening("api.localhost").tls(pki.server(&["api.localhost"], &["http/1.1"]));
    let silent = silent.answering(|request, site| async move {
        let (head, body) = request.into_parts();
        site.seen.arrived(&head, body);
        std::future::pending().await
    });
    let origin = silent.start().await;
    let mut proxy = Proxy::start(Setup::new(&routes(["host: api.localhost, ports: any"])).trusting(&pki)).await;
    let (client, url) = (proxy.client(), origin.url("/slow"));
    let answering = tokio::spawn(async move { client.get(&url).await });
    origin.next_arrival().await;
    proxy.write_routes(&routes([]));
    proxy.signal(Signal::HUP);
    within("an answer", answering).await.expect("no panic").says(403, &["no longer grants"]);
    says(&proxy.exchange().await, json!({"outcome": "denied", "error": "revoked"}));
}

#[tokio::test]
async fn a_request_that_began_under_laxer_rules_does_not_leave_under_stricter_ones() {
    let mut stage = Stage::granting("scan: record").await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 24\r\nExpect: 100-continue\r\n\r\n");
    inside.send(head).await;
    // The proxy asks for the content: it has judged the head.
    assert_eq!(inside.interim().await.status(), 100);
    stage.proxy.write_routes(&routes(["host: api.localhost, ports: any, scan: block"]));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    inside.send(format!("key {AWS_KEY}")).await;
    assert_eq!(inside.answer().await.head.status(), 503);
    stage.was_refused(json!({"outcome": "denied", "error": "rules_changed"})).await;
}

#[tokio::test]
async fn a_request_with_what_has_become_a_credential_does_not_leave() {
    const LATER: &str = "a-credential-of-later-0123";
    let mut stage = Stage::with("", |setup| setup.env("LATER", LATER)).await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    let head = format!(
        "PUT /echo HTTP/1.1\r\nHost: {authority}\r\nX-Note: {LATER}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    inside.send(head).await;
    assert_eq!(inside.interim().await.status(), 100);
    let other = "host: other.localhost, auth: {scheme: Bearer, token_env: LATER}";
    stage.proxy.write_routes(&routes(["host: api.localhost, ports: any", other]));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    inside.send("ok").await;
    assert_eq!(inside.answer().await.head.status(), 403);
    stage.was_refused(json!({"outcome": "denied", "error": "credential_sent"})).await;
}

#[tokio::test]
async fn a_request_that_was_stripped_for_one_parameter_does_not_leave_for_another() {
    let route = |parameter: &str| {
        format!("host: api.localhost, ports: any, auth: {{scheme: query, parameter: {parameter}, token_env: TOKEN}}")
    };
    let auth = "auth: {scheme: query, parameter: key, token_env: TOKEN}";
    let mut stage = Stage::with(auth, |setup| setup.env("TOKEN", "a-credential-0123")).await;
    let authority = stage.origin.authority();
    let mut inside = stage.client().raw_inside(&authority).await;
    let head = format!(
        "PUT /echo?key={AWS_KEY} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    inside.send(head).await;
    assert_eq!(inside.interim().await.status(), 100);
    stage.proxy.write_routes(&routes([&*route("other")]));
    stage.proxy.signal(Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    inside.send("ok").await;
    assert_eq!(inside.answer().await.head.status(), 503);
    stage.was_refused(json!({"outcome": "denied", "error": "rules_changed"})).await;
}

//! What the route table grants, and nothing else.

use harness::client::{get, post, with};
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use http::{Method, Version};
use serde_json::json;

use crate::{Stage, says};

#[tokio::test]
async fn a_granted_request_reaches_the_origin_and_is_recorded() {
    let mut stage = Stage::granting("").await;
    let answer = stage.client().get(&stage.url("/echo?q=1")).await;
    answer.says(200, &["\"target\":\"/echo?q=1\""]);
    let record = stage.proxy.exchange().await;
    says(
        &record,
        json!({
            "kind": "exchange", "outcome": "completed", "method": "GET", "scheme": "https", "host": "api.localhost",
            "port": stage.origin.port(), "path": "/echo", "route": "api.localhost", "rule": "any", "status": 200,
            "response_bytes": answer.content.len(), "request_bytes": 0,
        }),
    );
}

#[tokio::test]
async fn http_2_is_spoken_on_both_sides() {
    let stage = Stage::granting("").await;
    let answer = stage.client().h2().get(&stage.url("/echo")).await;
    assert_eq!(answer.version, Version::HTTP_2);
    assert_eq!(answer.json()["version"], "HTTP/2.0");
}

#[tokio::test]
async fn an_http_2_client_reaches_an_http_1_origin_and_the_reverse() {
    let pki = Pki::new();
    let old = Origin::https_h1(&pki, "old.localhost").await;
    let new = Origin::https_h2(&pki, "new.localhost").await;
    let table = routes(["host: old.localhost, ports: any", "host: new.localhost, ports: any"]);
    let proxy = Proxy::start(Setup::new(&table).trusting(&pki)).await;
    assert_eq!(proxy.client().h2().get(&old.url("/echo")).await.json()["version"], "HTTP/1.1");
    assert_eq!(proxy.client().get(&new.url("/echo")).await.json()["version"], "HTTP/2.0");
}

#[tokio::test]
async fn connect_to_unlisted_host_is_answered_and_refused_inside() {
    for client in [|c: harness::client::Client| c, |c: harness::client::Client| c.h2()] {
        let mut stage = Stage::granting("").await;
        let url = stage.url("/").replace("api.localhost", "other.localhost");
        let answer = client(stage.client()).get(&url).await;
        let record = stage.proxy.exchange().await;
        answer.says(403, &["other.localhost", "policy", record["id"].as_str().expect("an id")]);
        assert!(answer.field("content-type").starts_with("text/plain"), "{:?}", answer.fields);
        says(&record, json!({"outcome": "denied", "by": "policy", "error": "host_unlisted", "status": 403}));
        stage.origin.saw_nothing();
    }
}

#[tokio::test]
async fn a_port_that_no_route_covers_is_refused() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let mut proxy = Proxy::start(Setup::new(&routes(["host: api.localhost"])).trusting(&pki)).await;
    proxy.client().get(&origin.url("/")).await.says(403, &["port", &origin.port().to_string()]);
    says(&proxy.exchange().await, json!({"outcome": "denied", "error": "port_unlisted"}));
    origin.saw_nothing();
}

#[tokio::test]
async fn the_default_ports_are_443_and_80() {
    // Nobody listens there: that it was dialled is what shows that it was granted.
    let proxy = Proxy::start(Setup::new(&routes(["host: 127.9.9.9"]))).await;
    proxy.client().get("https://127.9.9.9/").await.says(502, &["127.9.9.9"]);
    proxy.client().get("http://127.9.9.9/").await.says(502, &["127.9.9.9"]);
    proxy.client().get("http://127.9.9.9:443/").await.says(403, &["443"]);
}

#[tokio::test]
async fn a_path_prefix_goes_by_segment() {
    let mut stage = Stage::granting("path_allowlist: [/user, /repos/acme/]").await;
    for path in ["/user", "/user/x", "/user?q=/../", "/repos/acme/x"] {
        stage.client().get(&stage.url(path)).await.says(200, &[]);
    }
    for path in ["/username", "/users", "/", "/repos", "/repos/acme", "/repos/acmecorp/x", "/User"] {
        stage.client().get(&stage.url(path)).await.says(403, &["api.localhost"]);
    }
    assert_eq!(stage.origin.seen().arrivals().len(), 4);
    let record = stage.proxy.record_where(|record| record["outcome"] == "denied").await;
    says(&record, json!({"error": "rule_missing", "route": "api.localhost", "path": "/username"}));
}

#[tokio::test]
async fn a_rule_of_methods_covers_no_other_method() {
    let mut stage = Stage::granting("matches: [{methods: [get, HEAD]}]").await;
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    let mut delete = get(&stage.url("/echo"));
    *delete.method_mut() = Method::DELETE;
    stage.client().send(delete).await.says(403, &["api.localhost"]);
    assert_eq!(stage.origin.seen().arrivals().len(), 1);
    let record = stage.proxy.record_where(|record| record["method"] == "DELETE").await;
    says(&record, json!({"outcome": "denied", "error": "rule_missing"}));
}

#[tokio::test]
async fn an_unregistered_method_needs_a_rule_that_lists_it() {
    let stage = Stage::granting("matches: [{paths: [{type: prefix, value: /}]}]").await;
    let listed = Stage::granting("matches: [{methods: [BREW]}]").await;
    for (stage, status) in [(&stage, 403), (&listed, 200)] {
        let mut brew = get(&stage.url("/echo"));
        *brew.method_mut() = Method::from_bytes(b"BREW").expect("a method");
        stage.client().send(brew).await.says(status, &[]);
    }
    stage.origin.saw_nothing();
}

#[tokio::test]
async fn a_rule_of_fields_needs_every_field_and_every_value() {
    let rule = "matches: [{headers: [{name: accept, type: exact, value: application/json}]}]";
    let stage = Stage::granting(rule).await;
    let accept = |values: &[&str]| values.iter().fold(get(&stage.url("/echo")), |r, value| with(r, "accept", value));
    stage.client().send(accept(&[])).await.says(403, &[]);
    stage.client().send(accept(&["text/html"])).await.says(403, &[]);
    stage.client().send(accept(&["application/json", "text/html"])).await.says(403, &[]);
    stage.origin.saw_nothing();
    stage.client().send(accept(&["application/json"])).await.says(200, &[]);
}

#[tokio::test]
async fn a_regular_expression_matches_the_whole_path() {
    let stage = Stage::granting(r#"matches: [{paths: [{type: regex, value: "/-/[a-z]+"}]}]"#).await;
    stage.client().get(&stage.url("/-/abc")).await.says(200, &[]);
    for path in ["/-/abc/d", "/x/-/abc", "/-/"] {
        stage.client().get(&stage.url(path)).await.says(403, &[]);
    }
    assert_eq!(stage.origin.seen().arrivals().len(), 1);
}

#[tokio::test]
async fn fields_that_override_method_or_path_are_refused_on_a_route_with_matches() {
    let stage = Stage::granting("matches: [{methods: [POST]}]").await;
    for name in ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"] {
        stage.client().send(with(post(&stage.url("/echo"), ""), name, "DELETE")).await.says(403, &[name]);
    }
    stage.origin.saw_nothing();
}

#[tokio::test]
async fn a_wildcard_covers_subdomains_and_never_the_apex() {
    let pki = Pki::new();
    let names = ["a.wild.localhost", "a.b.wild.localhost", "wild.localhost", "notwild.localhost"];
    let origin = Origin::opening("wild.localhost").tls(pki.server(&names, &["h2", "http/1.1"])).start().await;
    let proxy = Proxy::start(Setup::new(&routes([r#"host: "*.wild.localhost", ports: any"#])).trusting(&pki)).await;
    let url = |host: &str| format!("https://{host}:{}/echo", origin.port());
    proxy.client().get(&url("wild.localhost")).await.says(403, &[]);
    proxy.client().get(&url("notwild.localhost")).await.says(403, &[]);
    origin.saw_nothing();
    proxy.client().get(&url("a.wild.localhost")).await.says(200, &[]);
    proxy.client().get(&url("a.b.wild.localhost")).await.says(200, &[]);
}

#[tokio::test]
async fn the_most_specific_host_decides() {
    let pki = Pki::new();
    let names = ["exact.wild.localhost", "x.long.wild.localhost", "x.wild.localhost"];
    let origin = Origin::opening("wild.localhost").tls(pki.server(&names, &["http/1.1"])).start().await;
    let table = routes([
        r#"host: "*.wild.localhost", ports: any, path_allowlist: [/short]"#,
        r#"host: "*.long.wild.localhost", ports: any, path_allowlist: [/long]"#,
        "host: exact.wild.localhost, ports: any, path_allowlist: [/exact]",
    ]);
    let proxy = Proxy::start(Setup::new(&table).trusting(&pki)).await;
    for (host, path) in
        [("exact.wild.localhost", "/exact"), ("x.long.wild.localhost", "/long"), ("x.wild.localhost", "/short")]
    {
        for tried in ["/exact", "/long", "/short"] {
            let url = format!("https://{host}:{}{tried}", origin.port());
            let expected = if tried == path { 200 } else { 403 };
            proxy.client().get(&url).await.says(expected, &[]);
        }
    }
}

#[tokio::test]
async fn host_names_ignore_case_and_a_trailing_dot() {
    let stage = Stage::granting("").await;
    let mut inside = stage.client().raw_inside(&stage.origin.authority()).await;
    let host = stage.origin.authority().replace("api.localhost", "API.Localhost");
    inside.send(format!("GET /echo HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    assert_eq!(inside.answer().await.head.status(), 200);
}

#[tokio::test]
async fn plain_http_in_absolute_form_is_judged_the_same_way() {
    let origin = Origin::http("api.localhost").await;
    let table = routes(["host: api.localhost, ports: any, path_allowlist: [/user]"]);
    let mut proxy = Proxy::start(Setup::new(&table)).await;
    proxy.client().get(&origin.url("/username")).await.says(403, &["api.localhost"]);
    says(&proxy.exchange().await, json!({"outcome": "denied", "scheme": "http"}));
    origin.saw_nothing();
    let answer = proxy.client().get(&origin.url("/user/echo?x=1")).await;
    answer.says(200, &[]);
    assert_eq!(answer.json()["target"], "/user/echo?x=1");
    says(&proxy.exchange().await, json!({"outcome": "completed", "scheme": "http", "path": "/user/echo"}));
}

#[tokio::test]
async fn ip_literals_are_hosts_like_others() {
    let pki = Pki::new();
    let v4 = Origin::https(&pki, "127.0.0.1").await;
    let v6 = Origin::https(&pki, "[::1]").await;
    let table = routes(["host: 127.0.0.1, ports: any", r#"host: "[::1]", ports: any"#]);
    let proxy = Proxy::start(Setup::new(&table).trusting(&pki)).await;
    proxy.client().get(&v4.url("/echo")).await.says(200, &[]);
    proxy.client().get(&v6.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn a_redirect_comes_back_to_the_client_and_is_judged_again() {
    let stage = Stage::granting("path_allowlist: [/redirect]").await;
    let target = stage.url("/secret");
    let answer = stage.client().get(&stage.url(&format!("/redirect?to={target}"))).await;
    assert_eq!((answer.status.as_u16(), answer.field("location")), (302, &*target));
    stage.client().get(&target).await.says(403, &[]);
    assert_eq!(stage.origin.seen().arrivals().len(), 1);
}

//! Paths that two readers could take for two things are refused where paths decide; elsewhere they pass untouched.

use harness::origin::raw::RawOrigin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};

use crate::Stage;

const AMBIGUOUS: [&str; 25] = [
    "/user/../secret",
    "/user/..",
    "/user/./x",
    "/./user",
    "/user/%2e%2e/secret",
    "/user/%2E%2e/secret",
    "/user/.%2e/secret",
    "/user/%2e./secret",
    "/user/%2e/x",
    "/user/..;/secret",
    "/user/..;x=1/secret",
    "/user/%2fsecret",
    "/user%2F..%2Fsecret",
    "/user/%5csecret",
    "/user/%5Csecret",
    "/user/%252e%252e/secret",
    "/user/%252fsecret",
    "/user\\secret",
    "/user//secret",
    "//user",
    "/user/%00",
    "/user/%0d%0aX",
    "/user/%7f",
    "/user/%zz",
    "/user/%2",
];

#[tokio::test]
async fn ambiguous_paths_are_refused_on_a_route_with_path_rules() {
    let stage = Stage::granting("path_allowlist: [/user, /secret]").await;
    let authority = stage.origin.authority();
    for path in AMBIGUOUS {
        let mut inside = stage.client().raw_inside(&authority).await;
        inside.send(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
        let answer = inside.answer().await;
        assert!([400, 403].contains(&answer.head.status()), "{path}: {}", answer.head.start);
        assert_eq!(stage.origin.seen().connections(), 0, "{path} reached the origin");
    }
}

/// No target may have one (RFC 9112 section 3.2); the HTTP library takes it off before anything is judged.
#[tokio::test]
async fn a_fragment_never_reaches_the_origin() {
    let stage = Stage::granting("path_allowlist: [/user]").await;
    let authority = stage.origin.authority();
    for (path, allowed) in [("/user#/../secret", true), ("/secret#/user", false)] {
        let mut inside = stage.client().raw_inside(&authority).await;
        inside.send(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
        let status = inside.answer().await.head.status();
        assert!(status == 200 && allowed || [400, 403].contains(&status), "{path}: {status}");
    }
    for arrival in stage.origin.seen().arrivals() {
        assert_eq!(arrival.target, "/user");
    }
}

#[tokio::test]
async fn targets_reach_the_origin_byte_for_byte() {
    const TARGETS: [&str; 10] = [
        "/a%2Fb%7Cc//d;e=1?q=%2F|x+y&agent=x&z=%zz",
        "/",
        "/?",
        "/a/../b",
        "/%e2%82%ac?%E2%82%ac",
        "/~user/!$&'()*+,;=:@/x",
        "/a%252fb",
        "/a|b\"c",
        "/{x}/[y]",
        "/a?b?c/d",
    ];
    let pki = Pki::new();
    for target in TARGETS {
        let mut origin = RawOrigin::tls(&pki, "raw.localhost", "HTTP/1.1 204 No Content\r\n\r\n").await;
        let proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
        let authority = origin.authority();
        let mut inside = proxy.client().raw_inside(&authority).await;
        inside.send(format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
        let answer = inside.answer().await;
        match answer.head.status() {
            204 => assert_eq!(origin.request().await.head().start, format!("GET {target} HTTP/1.1")),
            // What the HTTP library takes for no target is refused; it never reaches the origin as another one.
            status => {
                assert_eq!(status, 400, "{target}: {}", answer.text());
                origin.saw_nothing_more();
            }
        }
    }
}

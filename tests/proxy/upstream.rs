//! Origins behind an HTTP proxy of the operator's: what it is told, what it is not, and what its refusals look like.

use futures_util::{SinkExt, StreamExt};
use harness::client::{get, post, with};
use harness::connect_proxy::{Behaviour, ConnectProxy};
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::{AWS_KEY, CREDENTIAL, Stage, says};

/// `user:password` of the upstream proxy, made up, and how it is written.
const PAIR: &str = "proxy-user:proxy-password-123";
const WRITTEN: &str = "Basic cHJveHktdXNlcjpwcm94eS1wYXNzd29yZC0xMjM=";

#[tokio::test]
async fn an_origin_is_reached_by_connect_and_the_proxy_learns_its_authority_only() {
    let mut upstream = ConnectProxy::start(Behaviour::Tunnels).await;
    let mut stage = behind(&upstream, "auth: {scheme: Bearer, token_env: TOKEN}").await;
    for client in [stage.client(), stage.client().h2()] {
        client.send(post(&stage.url("/echo?q=1"), "content")).await.says(200, &["/echo?q=1"]);
    }
    let asked = upstream.asked().await;
    let authority = stage.origin.authority();
    assert_eq!(asked.start, format!("CONNECT {authority} HTTP/1.1"));
    let names: Vec<_> = asked.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!((names.as_slice(), asked.field("host")), (&["host".to_owned()][..], Some(&*authority)));
    let arrival = stage.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
    let record = stage.proxy.exchange().await;
    says(&record, json!({"outcome": "completed", "next_hop": upstream.url().replace("http://", "")}));
}

#[tokio::test]
async fn tunnels_are_used_again_and_speak_h2_where_the_origin_does() {
    let mut upstream = ConnectProxy::start(Behaviour::Tunnels).await;
    let mut stage = behind(&upstream, "").await;
    for n in 0..4 {
        let client = if n % 2 == 0 { stage.client() } else { stage.client().h2() };
        client.get(&stage.url("/echo")).await.says(200, &["HTTP/2.0"]);
        says(&stage.proxy.exchange().await, json!({"origin_protocol": "h2"}));
    }
    upstream.asked().await;
    // An HTTP/1.1 client's connections are keyed with the h2 ones here.
    upstream.was_asked_nothing_more();
}

#[tokio::test]
async fn a_web_socket_and_a_stream_go_through() {
    let upstream = ConnectProxy::start(Behaviour::Tunnels).await;
    let stage = behind(&upstream, "").await;
    let mut socket = stage.client().open_web_socket(&stage.url("/ws")).await.expect("a WebSocket");
    socket.send(Message::text("hello")).await.expect("open");
    let echo = within("an echo", socket.next()).await.expect("open").expect("no failure");
    assert_eq!(echo, Message::text("hello"));
    let answer = stage.client().get(&stage.url("/bytes?n=3000000")).await;
    assert_eq!(answer.content.len(), 3_000_000);
    let sent = stage.client().send(post(&stage.url("/upload"), vec![b'.'; 3_000_000])).await;
    sent.says(200, &["3000000"]);
}

#[tokio::test]
async fn plain_http_goes_through_a_tunnel_too() {
    let mut upstream = ConnectProxy::start(Behaviour::Tunnels).await;
    let origin = Origin::http("plain.localhost").await;
    let setup = Setup::new(&routes(["host: plain.localhost, ports: any"])).arg("--upstream").arg(upstream.url());
    let proxy = Proxy::start(setup).await;
    proxy.client().get(&origin.url("/echo")).await.says(200, &["HTTP/1.1"]);
    assert_eq!(upstream.asked().await.start, format!("CONNECT {} HTTP/1.1", origin.authority()));
}

#[tokio::test]
async fn its_credential_comes_from_environment_file_or_stdin_and_goes_nowhere_else() {
    let upstream = || ConnectProxy::start(Behaviour::TunnelsFor(WRITTEN.to_owned()));
    let from_environment = upstream().await;
    let stage = behind_with(&from_environment, "", |setup| setup.env("EGRESS_PROXY_UPSTREAM_CREDENTIAL", PAIR)).await;
    assert_is_secret(stage).await;

    let from_file = upstream().await;
    let stage = behind_with(&from_file, "", |setup| {
        setup.write("pair", &format!("{PAIR}\n"));
        let path = setup.path("pair");
        setup.arg("--upstream-credential-file").arg(path)
    })
    .await;
    assert_is_secret(stage).await;

    let from_stdin = upstream().await;
    let document = json!({"tokens": {"EGRESS_PROXY_UPSTREAM_CREDENTIAL": PAIR}}).to_string();
    let stage = behind_with(&from_stdin, "", |setup| {
        let routes = setup.path("routes.yaml");
        setup.stdin(&document).arg("--routes").arg(routes)
    })
    .await;
    assert_is_secret(stage).await;
}

#[tokio::test]
async fn a_rotated_credential_is_used_for_the_next_tunnel() {
    let upstream = ConnectProxy::start(Behaviour::TunnelsFor(WRITTEN.to_owned())).await;
    let mut stage = behind_with(&upstream, "", |setup| {
        setup.write("pair", "proxy-user:yesterday-1234");
        let path = setup.path("pair");
        setup.arg("--upstream-credential-file").arg(path)
    })
    .await;
    stage.client().get(&stage.url("/echo")).await.says(502, &["407", "operator"]);
    says(&stage.proxy.exchange().await, json!({"outcome": "failed", "error": "proxy_configuration_error"}));
    std::fs::write(stage.proxy.files().join("pair"), PAIR).expect("the test's folder is writable");
    stage.proxy.signal(rustix::process::Signal::HUP);
    stage.proxy.event("routes.reloaded").await;
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
}

#[tokio::test]
async fn exceptions_are_dialled_directly() {
    let mut upstream = ConnectProxy::start(Behaviour::SaysAndCloses(b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec())).await;
    let stage = behind_with(&upstream, "", |setup| setup.arg("--upstream-except").arg("other.test,localhost")).await;
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    upstream.was_asked_nothing_more();
}

#[tokio::test]
async fn refusals_and_nonsense_of_the_proxy_are_failures_with_a_reason_on_both_sides() {
    let endless = "X-More: and more\r\n".repeat(100).into_bytes();
    for (behaviour, status, told, token) in [
        (Behaviour::TunnelsFor(WRITTEN.to_owned()), 502, "407", "proxy_configuration_error"),
        (says_and_closes("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), 502, "403", "destination_unavailable"),
        (says_and_closes("HTTP/1.1 502 Bad Gateway\r\n\r\ninternal: 10.0.0.1"), 502, "502", "destination_unavailable"),
        (says_and_closes("SSH-2.0-OpenSSH_9.2\r\n"), 502, "could not be read", "http_protocol_error"),
        (says_and_closes(""), 502, "could not be read", "http_protocol_error"),
        (says_and_closes("HTTP/1.1 200 OK\r\n\r\nearly words"), 502, "something else", "http_protocol_error"),
        (Behaviour::SaysForEver(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()), 504, "in time", "connection_timeout"),
        (Behaviour::Says([b"HTTP/1.1 200 OK\r\n", &endless[..]].concat()), 504, "in time", "connection_timeout"),
        (Behaviour::SaysForEver(endless.clone()), 502, "could not be read", "http_protocol_error"),
        (Behaviour::Says(Vec::new()), 504, "in time", "connection_timeout"),
    ] {
        let shown = format!("{behaviour:?}").chars().take(60).collect::<String>();
        let upstream = ConnectProxy::start(behaviour).await;
        let mut stage = behind_with(&upstream, "", |setup| setup.arg("--connect-timeout").arg("1")).await;
        let answer = stage.client().get(&stage.url("/echo")).await;
        assert_eq!(answer.status.as_u16(), status, "{shown}: {}", answer.text());
        assert!(answer.text().contains("upstream proxy") && answer.text().contains(told), "{}", answer.text());
        assert!(!answer.text().contains("10.0.0.1"), "{}", answer.text());
        says(&stage.proxy.exchange().await, json!({"outcome": "failed", "error": token}));
        stage.origin.saw_nothing();
    }
}

#[tokio::test]
async fn a_proxy_that_is_down_is_a_502_and_is_found_again() {
    let gone = ConnectProxy::start(Behaviour::Tunnels).await;
    let url = gone.url();
    drop(gone);
    let setup = Setup::new(&routes(["host: api.localhost, ports: any"])).arg("--upstream").arg(url);
    let mut proxy = Proxy::start(setup).await;
    proxy.client().get("https://api.localhost:1/").await.says(502, &["upstream proxy cannot be reached"]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "error": "connection_refused"}));
}

#[tokio::test]
async fn what_is_refused_is_not_asked_of_the_proxy() {
    let mut upstream = ConnectProxy::start(Behaviour::Tunnels).await;
    let setup = Setup::new(&routes(["host: 127.0.0.1, ports: any", "host: api.localhost, ports: any"]));
    let setup = setup.without("--allow-upstream-cidr").arg("--upstream").arg(upstream.url());
    let mut proxy = Proxy::start(setup).await;
    for (request, error) in [
        (get("https://127.0.0.1:8443/"), "address_prohibited"),
        (get("https://elsewhere.localhost:8443/"), "host_unlisted"),
        (with(get("https://api.localhost:8443/"), "x-key", AWS_KEY), "secret_found"),
    ] {
        let answer = proxy.client().send(request).await;
        assert_eq!(answer.status.as_u16(), 403, "{}", answer.text());
        says(&proxy.exchange().await, json!({"error": error}));
    }
    upstream.was_asked_nothing_more();
}

#[tokio::test]
async fn settings_that_make_no_sense_are_told_at_start() {
    let table = routes(["host: api.localhost"]);
    for (args, told) in [
        (&["--upstream", "http://user:secret@proxy:3128"][..], "--upstream-credential-file"),
        (&["--upstream", "socks5://proxy:1080"], "http://HOST:PORT"),
        (&["--upstream-except", "example.com"], "--upstream http://HOST:PORT"),
        (&["--upstream", "http://proxy:3128", "--upstream-except", "http://x"], "range"),
        (&["--upstream", "http://proxy:3128", "--upstream-credential-file", "/nonexistent"], "/nonexistent"),
    ] {
        let setup = args.iter().fold(Setup::new(&table), |setup, arg| setup.arg(*arg));
        let Err(ended) = Proxy::try_start(setup).await else { panic!("it started with {args:?}") };
        assert!(ended.stderr.contains(told), "no `{told}` in {}", ended.stderr);
        assert_ne!(ended.status.code(), Some(0));
    }
    let short = Setup::new(&table).arg("--upstream").arg("http://proxy:3128");
    let Err(ended) = Proxy::try_start(short.env("EGRESS_PROXY_UPSTREAM_CREDENTIAL", "no-colon-here")).await else {
        panic!("it started with half a credential")
    };
    ended.says(125, &["user:password"]);
    assert!(!ended.stderr.contains("no-colon-here"), "{}", ended.stderr);
}

/// The exchange works, and neither its origin nor any output of the proxy shows the credential.
async fn assert_is_secret(stage: Stage) {
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    for bytes in stage.origin.received() {
        assert!(harness::h1::find(&bytes, b"proxy-authorization").is_none(), "the origin saw it");
    }
    let ended = stage.proxy.stop().await;
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains("proxy-password") && !output.contains(WRITTEN), "{output}");
    }
}

async fn behind(upstream: &ConnectProxy, rest: &str) -> Stage {
    behind_with(upstream, rest, |setup| setup).await
}

async fn behind_with(upstream: &ConnectProxy, rest: &str, more: impl FnOnce(Setup) -> Setup) -> Stage {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let setup = Setup::new(&routes([&crate::route(rest)])).trusting(&pki).env("TOKEN", CREDENTIAL);
    let setup = setup.arg("--upstream").arg(upstream.url());
    Stage { proxy: Proxy::start(more(setup)).await, origin }
}

fn says_and_closes(answer: &str) -> Behaviour {
    Behaviour::SaysAndCloses(answer.as_bytes().to_vec())
}

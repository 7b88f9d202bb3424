//! Real HTTP proxies between the proxy and its origins: squid and tinyproxy with a credential, and mitmproxy, which
//! intercepts.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use harness::client::{get, post};
use harness::origin::Origin;
use harness::pki::Pki;
use harness::programs::{Program, Served};
use harness::proxy::{Proxy, Setup, routes};
use harness::within;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::CREDENTIAL;

/// `user:password` for the upstream proxy, made up, and its hash for squid (`openssl passwd -apr1`).
const PAIR: &str = "proxy-user:proxy-password-123";
const HASHED: &str = "proxy-user:$apr1$abcdefgh$uRS2jYMUDqDr3.h9Bh2aV.\n";

const SQUID: &str = "\
http_port ADDRESS
auth_param basic program /usr/lib/squid/basic_ncsa_auth HOME/passwd
auth_param basic children 1
acl user proxy_auth REQUIRED
http_access allow user
http_access deny all
pid_filename none
cache_log /dev/null
access_log none
cache deny all
memory_cache_shared off
shutdown_lifetime 1 second
";

const TINYPROXY: &str = "\
Listen 127.0.0.1
Port PORT
BasicAuth proxy-user proxy-password-123
MaxClients 100
LogLevel Critical
";

#[tokio::test]
async fn squid_carries_everything_for_its_credential_alone() {
    let address = free_address().await;
    let squid = Program::installed("squid");
    let home = squid.home().to_owned();
    // It gives up root, where it had that, and must still read its files.
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o755)).expect("the folder is ours");
    write(&home, "passwd", HASHED);
    let configuration = SQUID.replace("ADDRESS", &address.to_string());
    write(&home, "squid.conf", &configuration.replace("HOME", home.to_str().expect("ASCII")));
    let squid = squid.args(["-N", "-f", "squid.conf"]).serve(address).await;
    carries_everything(address, squid).await;
}

#[tokio::test]
async fn tinyproxy_carries_everything_for_its_credential_alone() {
    let address = free_address().await;
    let tinyproxy = Program::installed("tinyproxy");
    write(tinyproxy.home(), "tinyproxy.conf", &TINYPROXY.replace("PORT", &address.port().to_string()));
    let tinyproxy = tinyproxy.args(["-d", "-c", "tinyproxy.conf"]).serve(address).await;
    carries_everything(address, tinyproxy).await;
}

/// mitmproxy ends our TLS and begins its own: its authority is what `--upstream-ca` names.
#[tokio::test]
async fn mitmproxy_intercepts_and_the_exchange_still_arrives() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "localhost").await;
    let address = free_address().await;
    let mitmproxy = Program::client("mitmproxy/bin/mitmdump");
    write(mitmproxy.home(), "origins.pem", &pki.pem());
    let port = address.port().to_string();
    let mitmproxy = mitmproxy
        .args(["--listen-host", "127.0.0.1", "--listen-port", &port, "--set", "confdir=.", "--proxyauth", PAIR])
        .args(["--set", "ssl_verify_upstream_trusted_ca=origins.pem", "--quiet"])
        .serve(address)
        .await;
    let authority = mitmproxy.home().join("mitmproxy-ca-cert.pem");
    let setup = behind(address, &origin).env("EGRESS_PROXY_UPSTREAM_CREDENTIAL", PAIR);
    let mut proxy = Proxy::start(setup.arg("--upstream-ca").arg(authority.to_str().expect("ASCII"))).await;
    for client in [proxy.client(), proxy.client().h2()] {
        client.send(post(&origin.url("/echo"), "content")).await.says(200, &["content"]);
        let record = proxy.exchange().await;
        assert_eq!((&record["outcome"], &record["origin_protocol"]), (&json!("completed"), &json!("h2")), "{record}");
        assert_eq!(client.get(&origin.url("/bytes?n=2000000")).await.content.len(), 2_000_000);
        proxy.exchange().await;
    }
    let arrival = origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
    says_hello(&proxy, &origin).await;

    // Without its authority there is no trust.
    let distrusting = Proxy::start(behind(address, &origin).env("EGRESS_PROXY_UPSTREAM_CREDENTIAL", PAIR)).await;
    distrusting.client().get(&origin.url("/echo")).await.says(502, &["certificate"]);
}

async fn carries_everything(address: SocketAddr, _upstream: Served) {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "localhost").await;
    let with_credential = || behind(address, &origin).trusting(&pki).env("EGRESS_PROXY_UPSTREAM_CREDENTIAL", PAIR);
    let mut proxy = Proxy::start(with_credential()).await;
    for client in [proxy.client(), proxy.client().h2()] {
        client.send(post(&origin.url("/echo"), "content")).await.says(200, &["content"]);
        assert_eq!(client.get(&origin.url("/bytes?n=5000000")).await.content.len(), 5_000_000);
    }
    let arrival = origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
    let record = proxy.exchange().await;
    assert_eq!(record["next_hop"], address.to_string(), "{record}");
    says_hello(&proxy, &origin).await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..30 {
        let (client, url) = (proxy.client(), origin.url(&format!("/echo?n={n}&")));
        asking.spawn(async move { (n, client.send(get(&url)).await) });
    }
    while let Some(asked) = asking.join_next().await {
        let (n, answer) = asked.expect("no panic");
        answer.says(200, &[&format!("?n={n}&")]);
    }

    let nobody = origin.url("/").replace(&origin.port().to_string(), &free_address().await.port().to_string());
    proxy.client().get(&nobody).await.says(502, &["upstream proxy refuses to connect to localhost"]);
    let mut stranger = Proxy::start(behind(address, &origin).trusting(&pki)).await;
    stranger.client().get(&origin.url("/echo")).await.says(502, &["407"]);
    assert_eq!(stranger.exchange().await["error"], "proxy_configuration_error");
}

async fn says_hello(proxy: &Proxy, origin: &Origin) {
    let mut socket = proxy.client().open_web_socket(&origin.url("/ws")).await.expect("a WebSocket");
    socket.send(Message::text("hello")).await.expect("open");
    let echo = within("an echo", socket.next()).await.expect("open").expect("no failure");
    assert_eq!(echo, Message::text("hello"));
}

fn behind(address: SocketAddr, origin: &Origin) -> Setup {
    let route = format!("host: {}, ports: any, auth: {{scheme: Bearer, token_env: TOKEN}}", origin.name());
    let setup = Setup::new(&routes([&route])).env("TOKEN", CREDENTIAL);
    setup.arg("--upstream").arg(format!("http://{address}"))
}

fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).expect("the folder is writable");
}

/// A port that was free a moment ago: these programs do not tell which one they took.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    listener.local_addr().expect("a bound port")
}

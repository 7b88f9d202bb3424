//! The real pipelock in a bottle (`make interop`): where it is, what it sees, and that its verdict counts.

use std::net::IpAddr;

use harness::origin::Origin;
use harness::pki::Pki;
use harness::within;
use serde_json::json;

use crate::bottle::{Bottle, Setup};
use crate::engine::{self, belongings, docker, inspect, logs};
use crate::supervise::{ask, waiting};

/// A bottle with pipelock in it, and an origin that it may reach with a credential.
struct Place {
    bottle: Bottle,
    origin: Origin,
}

impl Place {
    async fn new(dlp: &str) -> Self {
        let host = engine::host_address().await;
        let address: IpAddr = host.parse().unwrap();
        let pki = Pki::new();
        let origin = Origin::opening(&host).tls(pki.server(&[&host], &["http/1.1"])).on(address).start().await;
        let setup = Setup::closed().dlp(dlp);
        let ca = setup.file("origin-ca.pem", &pki.pem());
        let bottle = setup
            .frontmatter(&format!(
                "egress_proxy:\n  defaults: off\n  allow_cidr: [{host}/32]\n  upstream_ca: {}\n  routes:\n    - host: {host}\n      \
                 ports: [{}]\n      auth: {{scheme: Bearer, token_ref: NOTES}}",
                ca.display(),
                origin.port()
            ))
            .variable("NOTES", CREDENTIAL)
            .start()
            .await;
        Self { bottle, origin }
    }

    /// Posts JSON; the status and the answer's content.
    async fn post(&mut self, content: &str) -> String {
        let url = self.origin.url("/");
        self.bottle
            .sh(&format!("curl -sS -w '\\n%{{http_code}}' -H 'Content-Type: application/json' -d '{content}' {url}"))
            .await
    }
}

#[tokio::test]
async fn pipelock_refuses_a_key_and_the_origin_sees_nothing() {
    let mut place = Place::new("pipelock").await;
    let answer = place.post(&format!("{{\"text\": \"{MADE_UP_KEY}\"}}")).await;
    assert!(answer.ends_with("403"), "{answer}");
    assert!(answer.contains("AWS"), "its own reason comes through: {answer}");
    place.origin.saw_nothing();
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn an_injected_credential_arrives_at_the_origin_and_never_at_pipelock() {
    let mut place = Place::new("both").await;
    let answer = place.post("{\"text\": \"hello\"}").await;
    assert!(answer.ends_with("200"), "{answer}");
    let arrival = place.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(format!("Bearer {CREDENTIAL}").as_str()));
    let log = logs(&place.bottle.container("pipelock")).await;
    assert!(!log.is_empty() && !log.contains(CREDENTIAL), "{log}");
    // The same string from the agent is refused.
    let answer = place.post(&format!("{{\"text\": \"{CREDENTIAL}\"}}")).await;
    assert!(answer.ends_with("403"), "{answer}");
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn pipelock_is_on_the_inspection_network_only_and_the_agent_does_not_reach_it() {
    let mut place = Place::new("both").await;
    let found = inspect(&place.bottle.container("pipelock")).await;
    let networks = found["NetworkSettings"]["Networks"].as_object().unwrap();
    let names: Vec<&String> = networks.keys().collect();
    assert_eq!(names, [&format!("claude-bottle-inspect-{}", place.bottle.identity)]);
    let address = networks[names[0]]["IPAddress"].as_str().unwrap();
    let around =
        format!("curl -sS -o /dev/null --noproxy '*' --max-time 3 http://{address}:8888/health && echo reached");
    assert!(!place.bottle.sh(&around).await.contains("reached"));
    // Nor through the proxy.
    let through = format!("curl -sS -o /dev/null -w '%{{http_code}}' http://{address}:8888/health");
    assert_eq!(place.bottle.sh(&through).await, "403");
    assert!(place.bottle.sh("timeout 5 getent hosts pipelock").await.is_empty());
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn a_route_that_the_operator_approves_leads_through_pipelock_to_the_origin() {
    for dlp in ["pipelock", "both"] {
        let origin = NamedOrigin::start().await;
        let setup = Setup::closed().dlp(dlp);
        let ca = setup.file("origin-ca.pem", &origin.ca);
        let mut bottle = setup
            .frontmatter(&format!(
                "supervise: true\negress_proxy:\n  defaults: off\n  allow_cidr: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]\n  \
                 upstream_ca: {}",
                ca.display()
            ))
            .start()
            .await;
        origin.join(&format!("claude-bottle-egress-{}", bottle.identity)).await;
        let get = format!("curl -sS -w '\\n%{{http_code}}' https://{NAME}/answer");
        assert!(bottle.sh(&get).await.ends_with("403"), "{dlp}: no route names it yet");
        ask(&mut bottle, &json!({"host": NAME, "methods": ["GET", "POST"], "reason": "to test"})).await;
        waiting(&bottle).await;
        let approved = bottle.bottle(&["dashboard", "--approve", &format!("{}/1", bottle.identity)]).await;
        assert!(approved.status.success(), "{dlp}: {}", approved.stderr);

        assert_eq!(bottle.sh(&get).await, "from the origin\n\n200", "{dlp}");
        let post = format!("{get} -H 'Content-Type: application/json' -d '{{\"text\": \"{MADE_UP_KEY}\"}}'");
        let refused = bottle.sh(&post).await;
        assert!(refused.ends_with("403"), "{dlp}: {refused}");
        assert!(dlp == "both" || refused.contains("AWS"), "pipelock's own reason: {refused}");
        drop(origin);
        assert!(bottle.exit(0).await.status.success());
    }
}

/// A web server with a name: proposals name hosts, which are asked at port 443 for what a certificate proves.
struct NamedOrigin {
    container: String,
    ca: String,
}

impl NamedOrigin {
    async fn start() -> Self {
        let image = engine::agent_image().await;
        let container = docker(&["run", "-d", "-u", "root", "-w", "/tmp", &image, "sh", "-ec", SERVE]).await;
        let mut origin = Self { container, ca: String::new() };
        let written = async {
            while !logs(&origin.container).await.contains("ACCEPT") {
                tokio::task::yield_now().await;
            }
        };
        within("an origin that listens", written).await;
        origin.ca = docker(&["exec", &origin.container, "cat", "ca.pem"]).await;
        origin
    }

    /// Is found under its name on a network.
    async fn join(&self, network: &str) {
        docker(&["network", "connect", "--alias", NAME, network, &self.container]).await;
    }
}

impl Drop for NamedOrigin {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rm", "-f", &self.container]).output();
    }
}

#[tokio::test]
async fn a_dying_pipelock_ends_the_bottle() {
    let place = Place::new("both").await;
    let (identity, pipelock) = (place.bottle.identity.clone(), place.bottle.container("pipelock"));
    docker(&["kill", &pipelock]).await;
    let ended = place.bottle.end().await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("`{pipelock}` ended with code 137")), "{}", ended.stderr);
    assert!(belongings(&identity).await.is_empty());
}

/// Shaped as a GitHub token, which both scans would refuse were they shown it.
const CREDENTIAL: &str = concat!("ghp_", "q3Z7XWVB5tNDK2LMa8Rf6Hy1Jc4Pe0Us9Gv2");
const MADE_UP_KEY: &str = concat!("AKIA", "Q3Z7XWVB5TNDK2LM");

const NAME: &str = "origin.example.test";

const SERVE: &str = "
    new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
    openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=ca -days 2 2>/dev/null
    openssl req $new -keyout key.pem -out request.pem -subj /CN=origin 2>/dev/null
    echo subjectAltName=DNS:origin.example.test >names
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem 2>/dev/null
    echo 'from the origin' >answer
    exec openssl s_server -accept 443 -cert cert.pem -key key.pem -WWW";

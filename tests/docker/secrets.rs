//! Where secrets are not: the engine's store, the logs, the agent's side. And where one is: at the origin.

use std::net::IpAddr;

use harness::origin::Origin;
use harness::pki::Pki;

use crate::bottle::Setup;
use crate::engine::{self, inspect, logs};

#[tokio::test]
async fn a_credential_reaches_the_origin_and_nothing_else() {
    let host = engine::host_address().await;
    let address: IpAddr = host.parse().unwrap();
    let pki = Pki::new();
    let origin = Origin::opening(&host).tls(pki.server(&[&host], &["http/1.1"])).on(address).start().await;
    let setup = Setup::closed();
    let ca = setup.file("origin-ca.pem", &pki.pem());
    let mut bottle = setup
        .frontmatter(&format!(
            "egress_proxy:\n  defaults: off\n  allow_cidr: [{host}/32]\n  upstream_ca: {}\n  routes:\n    - host: {host}\n      \
             ports: [{}]\n      auth: {{scheme: Bearer, token_ref: NOTES, placeholder: NOTES_TOKEN}}",
            ca.display(),
            origin.port()
        ))
        .variable("NOTES", CREDENTIAL)
        .start()
        .await;

    let url = origin.url("/");
    let call = format!("curl -sS -o /dev/null -w '%{{http_code}}' -H \"Authorization: Bearer $NOTES_TOKEN\" {url}");
    assert_eq!(bottle.sh(&call).await, "200");
    assert_eq!(origin.next_arrival().await.value("authorization"), Some(format!("Bearer {CREDENTIAL}").as_str()));

    nowhere_in_the_engine(&bottle.identity, &[CREDENTIAL, "PRIVATE KEY"]).await;
    let agent = bottle.sh(EVERYTHING_THE_AGENT_SEES).await;
    assert!(agent.contains("NOTES_TOKEN="), "the search sees the environment");
    assert!(!agent.contains(CREDENTIAL));
    let keys = "grep -rlIs -e '-----BEGIN[A-Z ]* PRIVATE KEY-----' /home /usr/local /etc /run /tmp /workspace /var";
    assert_eq!(bottle.sh(keys).await, "");
    let ended = bottle.exit(0).await;
    assert!(ended.status.success());
    assert!(!ended.stderr.contains(CREDENTIAL) && !ended.stdout.contains(CREDENTIAL));
}

#[tokio::test]
async fn the_agents_own_secret_is_in_its_environment_and_not_in_the_engines_store() {
    let setup = Setup::new("env: {JIRA_TOKEN: \"${JIRA}\"}\negress_proxy: {defaults: off}");
    let mut bottle = setup.variable("JIRA", CREDENTIAL).start().await;
    assert_eq!(bottle.sh("echo $JIRA_TOKEN").await, CREDENTIAL);
    nowhere_in_the_engine(&bottle.identity, &[CREDENTIAL]).await;
    assert!(bottle.exit(0).await.status.success());
}

/// Searches what the engine shows of every container and network of a bottle, their images and their logs.
async fn nowhere_in_the_engine(identity: &str, secrets: &[&str]) {
    let belongings = engine::belongings(identity).await;
    assert!(belongings.len() >= 4, "{belongings:?}");
    for name in belongings {
        let found = inspect(&name).await;
        let mut shown = found.to_string();
        if let Some(image) = found["Image"].as_str() {
            shown += &inspect(image).await.to_string();
            shown += &engine::docker(&["history", "--no-trunc", image]).await;
            shown += &logs(&name).await;
        }
        for secret in secrets {
            assert!(!shown.contains(secret), "{name} shows it");
        }
    }
}

/// Its processes' environments and arguments, and every file that it may have been given.
const EVERYTHING_THE_AGENT_SEES: &str = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; \
    cat /etc/hosts /etc/resolv.conf /proc/mounts; find /home /workspace /usr/local/share /tmp /run -type f -exec cat {} + 2>/dev/null | \
    tr -cd '[:print:]\\n'";

const CREDENTIAL: &str = "s3cr3t-0f-th3-n0t3s-0r1g1n";

//! The bottle's CA in systems that keep their anchors elsewhere than Debian does. The images are Debian's with another layout: what a
//! bottle finds out about a system, it finds out by its folders and programs.

use crate::bottle::Setup;
use crate::engine;

/// Starts a bottle in an image with these additions, and verifies its CA against the system's own bundle and ours.
async fn trusts(name: &str, additions: &str, bundle: &str) {
    let image = format!("claude-bottle-test-trust-{name}");
    let base = engine::agent_image().await;
    engine::build(&format!("FROM {base}\nUSER root\n{additions}\nUSER agent\n"), &image).await;
    let mut bottle = Setup::closed().image(&image).start().await;
    for bundle in [bundle, "$SSL_CERT_FILE"] {
        let verify = format!("openssl verify -CAfile {bundle} /usr/local/share/claude-bottle/ca.crt");
        assert!(bottle.sh(&verify).await.ends_with(": OK"), "{bundle}");
        // The system's own anchors are there too.
        let count = bottle.sh(&format!("grep -c BEGIN {bundle}")).await;
        assert!(count.parse::<u32>().is_ok_and(|count| count > 50), "{bundle}: {count}");
    }
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn alpines_layout_is_trusted_by_update_ca_certificates() {
    trusts("alpine", "RUN rm /etc/debian_version", "/etc/ssl/certs/ca-certificates.crt").await;
}

#[tokio::test]
async fn an_agent_whose_tls_clients_do_not_get_through_is_not_started() {
    let image = "claude-bottle-test-untrusting:latest";
    let client = "RUN printf '#!/bin/sh\\necho no certificate of ours >&2; exit 60\\n' >/usr/bin/curl";
    engine::build(&format!("FROM {}\nUSER root\n{client}\nUSER agent\n", engine::agent_image().await), image).await;
    let ended = Setup::closed().image(image).run(&["-c", "echo started"]).await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    let error = "error: the agent's container does not reach the proxy: no certificate of ours";
    assert!(ended.stderr.contains(error), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn red_hats_layout_is_trusted_by_update_ca_trust() {
    // What Red Hat's program does with its folder of anchors; the program itself is not Debian's to have.
    let program =
        "cat /etc/ssl/certs/ca-certificates.crt /etc/pki/ca-trust/source/anchors/* >/etc/pki/tls/certs/ca-bundle.crt";
    let additions = format!(
        "RUN mkdir -p /etc/pki/ca-trust/source/anchors /etc/pki/tls/certs && \
         printf '#!/bin/sh\\nset -e\\n[ \"$1\" = extract ]\\n{program}\\n' >/usr/bin/update-ca-trust && \
         chmod 755 /usr/bin/update-ca-trust"
    );
    trusts("redhat", &additions, "/etc/pki/tls/certs/ca-bundle.crt").await;
}

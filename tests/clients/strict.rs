//! The strictest verifiers there are accept the leaves that the proxy mints, for names and for addresses.

use harness::programs::Program;
use harness::proxy::{Proxy, Setup, routes};

const AUTHORITIES: [&str; 3] = ["api.localhost:443", "127.0.0.1:443", "[::1]:443"];

#[tokio::test]
async fn openssl_verifies_leaves_by_the_letter_of_x509() {
    let proxy = proxy().await;
    // `s_client` leaves the brackets of an IPv6 address out of its CONNECT: Python and rustls try that one.
    for authority in &AUTHORITIES[..2] {
        let host = authority.rsplit_once(':').expect("a port").0;
        let check = if host == "api.localhost" { "-verify_hostname" } else { "-verify_ip" };
        let openssl = Program::installed("openssl").args(["s_client", "-proxy", &proxy.address().to_string()]);
        let openssl = openssl.args(["-connect", authority, "-x509_strict", "-verify_return_error", check, host]);
        let ran = openssl.arg("-CAfile").arg(proxy.ca_file()).run().await;
        assert!(ran.output().contains("Verify return code: 0 (ok)"), "{authority}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn openssl_verifies_leaf_and_issuer_as_files() {
    let proxy = proxy().await;
    let fetch = "openssl s_client -proxy \"$1\" -connect api.localhost:443 </dev/null 2>/dev/null | \
                 openssl x509 >leaf.pem && \
                 openssl verify -x509_strict -purpose sslserver -verify_hostname api.localhost -CAfile \"$2\" leaf.pem";
    let shell = Program::installed("sh").args(["-c", fetch, "sh"]);
    let ran = shell.arg(proxy.address().to_string()).arg(proxy.ca_file()).run().await;
    assert_eq!(ran.output(), "leaf.pem: OK\n");
}

#[tokio::test]
async fn python_verifies_leaves_strictly() {
    let proxy = proxy().await;
    for authority in AUTHORITIES {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/programs/strict.py");
        let python = Program::installed("python3").arg(program).arg(proxy.address().port().to_string());
        let ran = python.arg(authority).arg(proxy.ca_file()).run().await;
        ran.output();
    }
}

#[tokio::test]
async fn rustls_verifies_leaves() {
    let proxy = proxy().await;
    for authority in AUTHORITIES {
        let host = authority.rsplit_once(':').expect("a port").0.trim_matches(['[', ']']);
        let handshake = proxy.client().tls(authority, Some(host)).await;
        assert!(handshake.is_ok(), "{authority}: {:?}", handshake.err());
    }
}

/// Nothing is granted: every authority is intercepted all the same, so that the refusal can be read.
async fn proxy() -> Proxy {
    Proxy::start(Setup::new(&routes([]))).await
}

//! Real programs through the proxy, by proxy and trust variables alone: each is granted one host, gets an injected
//! credential there, and can read why another is refused.
//!
//! `scripts/test-clients` installs them; a missing one fails here with that line.

mod curl;
mod git;
mod go;
mod grpc;
mod java;
mod mcp;
mod node;
mod packages;
mod python;
mod strict;
mod upstream;

use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};

/// The credential that every exchange of these tests is given, and that no program holds.
const CREDENTIAL: &str = "example-credential-0123456789";

/// An HTTPS origin that is granted, with a credential.
struct Granted {
    origin: Origin,
    proxy: Proxy,
}

impl Granted {
    async fn start() -> Self {
        let pki = Pki::new();
        let origin = Origin::https(&pki, "api.localhost").await;
        Self::to(&pki, origin).await
    }

    async fn to(pki: &Pki, origin: Origin) -> Self {
        let host = origin.name();
        let route = format!("host: {host}, ports: any, auth: {{scheme: Bearer, token_env: TOKEN}}");
        let setup = Setup::new(&routes([&route])).trusting(pki).env("TOKEN", CREDENTIAL);
        Self { proxy: Proxy::start(setup).await, origin }
    }

    fn echo(&self) -> String {
        self.origin.url("/echo")
    }

    /// A URL whose host nobody granted.
    fn elsewhere(&self) -> String {
        "https://elsewhere.localhost:8443/".to_owned()
    }

    /// Fails unless the output holds what the origin said about an exchange with the credential.
    #[track_caller]
    fn is_echo(&self, output: &str) {
        assert!(
            output.contains(&format!("Bearer {CREDENTIAL}")) || output.contains("\"target\":\"/echo\""),
            "{output}"
        );
        let arrivals = self.origin.seen().arrivals();
        assert!(!arrivals.is_empty(), "nothing reached the origin: {output}");
        for arrival in arrivals {
            assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
        }
    }
}

/// Fails unless the output is the proxy's own refusal.
#[track_caller]
fn is_refusal(output: &str) {
    assert!(output.contains("elsewhere.localhost"), "no reason in `{output}`");
}

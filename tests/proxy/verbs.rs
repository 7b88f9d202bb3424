//! The other verbs of the program: they say what `run` would do, with exit codes for scripts.

use harness::programs::{Program, Ran};
use harness::proxy::Setup;

use crate::AWS_KEY;

const TABLE: &str = "routes:\n  - host: api.localhost\n    path_allowlist: [/user]\n";

/// The exit code of a verb that did its work and says no.
const REFUSED: i32 = 3;

#[tokio::test]
async fn check_names_the_route_and_rule_that_decide() {
    let files = Setup::bare();
    files.write("routes.yaml", TABLE);
    let routes = files.path("routes.yaml");
    let routes = routes.as_str();
    let check = async |url: &str| verb(&["check", "--routes", routes, "GET", url]).await;

    let allowed = check("https://api.localhost/user/x").await;
    for word in ["api.localhost", "routes.yaml:2", "path_allowlist[0]"] {
        assert!(allowed.output().contains(word), "{}", allowed.stdout);
    }
    for (url, word) in [
        ("https://api.localhost/username", "routes.yaml:2"),
        ("https://api.localhost/user/../x", "ambiguous"),
        ("https://other.localhost/", "other.localhost"),
        ("https://api.localhost:8443/user", "8443"),
    ] {
        let refused = check(url).await;
        assert_eq!(refused.code, Some(REFUSED), "{}", refused.stderr);
        assert!(refused.stdout.contains(word), "{}", refused.stdout);
    }
    assert_eq!(check("no URL at all").await.code, Some(125));
}

#[tokio::test]
async fn a_table_can_be_validated_and_every_mistake_is_told_at_once() {
    let files = Setup::bare();
    files.write("good.yaml", TABLE);
    files.write("bad.yaml", "routes:\n  - {host: '*'}\n  - {host: a.localhost, prots: any}\n");
    verb(&["routes", "validate", "--routes", &files.path("good.yaml")]).await.output();
    let refused = verb(&["routes", "validate", "--routes", &files.path("bad.yaml")]).await;
    assert_eq!(refused.code, Some(125));
    for word in ["bad.yaml:2", "bad.yaml:3", "ports"] {
        assert!(refused.stderr.contains(word), "no `{word}` in {}", refused.stderr);
    }
}

#[tokio::test]
async fn the_schema_for_editors_is_json() {
    let ran = verb(&["routes", "schema"]).await;
    let schema: serde_json::Value = serde_json::from_str(ran.output()).expect("JSON");
    assert!(schema["$schema"].is_string(), "{schema}");
}

#[tokio::test]
async fn an_authority_is_made_once_and_shown_by_its_fingerprint() {
    let files = Setup::bare();
    let folder = files.path("ca");
    let made = verb(&["ca", "init", "--ca-dir", &folder]).await;
    let shown = verb(&["ca", "show", "--ca-dir", &folder]).await;
    assert_eq!(made.output(), shown.output());
    assert!(!shown.stdout.contains("PRIVATE"), "{}", shown.stdout);

    let openssl = Program::installed("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let told = openssl.arg(files.path("ca/ca.pem")).run().await;
    let fingerprint = told.output().trim().rsplit('=').next().expect("a fingerprint").to_owned();
    let plain = |text: &str| text.replace(':', "").to_ascii_lowercase();
    assert!(plain(&shown.stdout).contains(&plain(&fingerprint)), "{} is not in {}", fingerprint, shown.stdout);

    let again = verb(&["ca", "init", "--ca-dir", &folder]).await;
    assert_eq!(again.code, Some(125), "an authority was overwritten");
    assert_eq!(verb(&["ca", "show", "--ca-dir", &folder]).await.stdout, shown.stdout);
}

#[tokio::test]
async fn scan_judges_its_input() {
    let script = "printf '%s' \"$2\" | \"$1\" scan";
    for (text, code) in [("nothing to see", 0), (AWS_KEY, REFUSED)] {
        let shell = Program::installed("sh").args(["-c", script, "sh"]);
        let ran = shell.arg(harness::proxy::binary("egress-proxy-under-test")).arg(text).run().await;
        assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
        assert!(!ran.stdout.contains(AWS_KEY) && !ran.stderr.contains(AWS_KEY), "{}{}", ran.stdout, ran.stderr);
    }
}

#[tokio::test]
async fn a_healthcheck_of_nobody_fails() {
    let ran = verb(&["healthcheck", "--admin", "127.0.0.1:1"]).await;
    assert_eq!(ran.code, Some(125), "{}", ran.stderr);
    assert!(ran.stderr.contains("127.0.0.1:1"), "{}", ran.stderr);
}

async fn verb(args: &[&str]) -> Ran {
    let program = Program::tested("egress-proxy-under-test");
    args.iter().fold(program, |program, arg| program.arg(arg)).run().await
}

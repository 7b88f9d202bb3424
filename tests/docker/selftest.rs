//! `bottle selftest`: our own acceptance test, and the proof that it sees a hole.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::bottle::Setup;

/// The attempts by their verdict, and the exit code.
async fn selftest(frontmatter: &str) -> (Vec<(String, String)>, Option<i32>) {
    let setup = Setup::new(frontmatter).variable("NOTES", "a-credential-of-this-test");
    let mut command = setup.verb(&["selftest", "test", "--dlp", "builtin", "--json"]).await;
    let output = timeout(DEADLINE, command.output()).await.expect("an end in time").expect("a built `bottle`");
    let sheet: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = sheet.iter().map(|row| (text(row, "verdict"), format!("{}: {}", text(row, "attempt"), row["seen"])));
    (rows.collect(), output.status.code())
}

fn of(rows: &[(String, String)], verdict: &str) -> Vec<String> {
    rows.iter().filter(|(found, _)| found == verdict).map(|(_, attempt)| attempt.clone()).collect()
}

#[tokio::test]
async fn nothing_gets_out_of_a_bottle() {
    let (rows, code) = selftest(
        "supervise: true\negress_proxy:\n  defaults: off\n  routes:\n    - host: granted.example\n      \
         auth: {scheme: Bearer, token_ref: NOTES}\n    - host: paths.example\n      path_allowlist: [/granted/]",
    )
    .await;
    assert_eq!(of(&rows, "through"), [""; 0]);
    assert!(of(&rows, "held").len() >= 60, "{rows:#?}");
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_hole_is_seen() {
    let (rows, code) = selftest("egress_proxy: {defaults: off, routes: [{host: dns.google}]}").await;
    let through = of(&rows, "through");
    assert!(through.iter().any(|attempt| attempt.starts_with("DNS over HTTPS: ")), "{through:?}");
    assert_eq!(code, Some(1));
}

/// Dozens of attempts, many of which wait for an answer that does not come.
const DEADLINE: Duration = Duration::from_secs(180);

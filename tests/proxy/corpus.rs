//! The corpus of attacks, `tests/corpus/*.toml`: requests that two readers could take for two things, that name another
//! host than they were let in for, that carry what may not leave. Each is made on a real intercepted connection, as
//! bytes; each must be refused and recorded, and the origin must not see so much as a connection.

mod attempt;
mod group;

use std::collections::BTreeMap;

use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};

use self::attempt::{Attempt, Stage};
use self::group::{Case, cases};
use crate::CREDENTIAL;

/// A stand-in of one bottle.
pub(crate) const STAND_IN: &str = "bottle-placeholder-9x2k7q4m1z8w";

const HOSTS: [&str; 9] = [
    "any.localhost",
    "rules.localhost",
    "matches.localhost",
    "auth.localhost",
    "header.localhost",
    "query.localhost",
    "quiet.localhost",
    "port.localhost",
    "a.wild.localhost",
];

const TABLE: [&str; 10] = [
    "host: any.localhost, ports: any",
    "host: rules.localhost, ports: any, path_allowlist: [/user, /below/]",
    "host: matches.localhost, ports: any, matches: [{methods: [GET, POST], paths: [{value: /user}], headers: [{name: x-team, value: a}]}]",
    "host: auth.localhost, ports: any, auth: {scheme: Bearer, token_env: TOKEN, placeholder: STAND_IN}",
    "host: header.localhost, ports: any, auth: {scheme: header, header: X-Own-Key, token_env: OTHER}",
    "host: query.localhost, ports: any, auth: {scheme: query, parameter: key, token_env: OTHER, placeholder: STAND_IN}",
    "host: quiet.localhost, ports: any, scan: off",
    "host: port.localhost",
    "host: '*.wild.localhost', ports: any",
    "host: 127.0.0.1, ports: any",
];

#[tokio::test]
async fn every_attack_of_the_corpus_is_refused_and_recorded_and_the_origin_sees_nothing() {
    let cases = cases("refused");
    assert!(cases.len() >= 300, "the corpus has shrunk to {} cases", cases.len());
    let mut stage = stage().await;
    let (mut failures, mut attempts) = (Vec::new(), 0);
    for case in &cases {
        for attempt in Attempt::of(case) {
            attempts += 1;
            if let Err(what) = attempt.is_refused(&mut stage, case).await {
                failures.push(format!("{} [{attempt}]: {what}", case.name));
            }
        }
    }
    let groups = count(&cases);
    assert!(failures.is_empty(), "{} of {attempts} attempts\n{}", failures.len(), failures.join("\n"));
    println!("{} cases, {attempts} attempts: {groups:?}", cases.len());
}

/// What the HTTP library resolves before the proxy sees it goes on with one reading.
#[tokio::test]
async fn what_the_library_resolves_reaches_the_origin_with_one_reading() {
    let mut stage = stage().await;
    let mut failures = Vec::new();
    for case in &cases("reframed") {
        for attempt in Attempt::of(case) {
            if let Err(what) = attempt.is_reframed(&mut stage, case).await {
                failures.push(format!("{} [{attempt}]: {what}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

async fn stage() -> Stage {
    let pki = Pki::new();
    let origin = Origin::opening("any.localhost").tls(pki.server(&HOSTS, &["http/1.1"])).start().await;
    let setup = Setup::new(&routes(TABLE)).trusting(&pki).env("TOKEN", CREDENTIAL).env("STAND_IN", STAND_IN);
    let proxy = Proxy::start(setup.env("OTHER", "another-credential-0123456789")).await;
    Stage { origin, proxy }
}

fn count(cases: &[Case]) -> BTreeMap<&str, usize> {
    let mut counted = BTreeMap::new();
    for case in cases {
        *counted.entry(case.file.as_str()).or_default() += 1;
    }
    counted
}

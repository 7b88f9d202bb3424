//! What only looks like a secret: wrong length, alphabet, case, checksum; placeholders. None may be reported.

use egress_proxy::scan::{Exemptions, Structure};

use crate::{
    generate::{Dice, secret},
    matrix::SCANNER,
};

#[test]
fn near_misses_are_not_reported() {
    let mut dice = Dice::new(9);
    let (mut sent, mut reported) = (0, Vec::new());
    for rule in SCANNER.rules() {
        let Some(expression) = rule.expression() else { continue };
        let whole = regex::bytes::RegexBuilder::new(&format!("(?:{expression})")).unicode(false).build().unwrap();
        for _ in 0..3 {
            let secret = secret(rule, &mut dice);
            for (kind, near) in near(&secret, rule.check()) {
                // What the format allows after all is none.
                let allowed = kind != "wrong checksum" && whole.find(near.as_bytes()).is_some();
                if allowed {
                    continue;
                }
                sent += 1;
                let mut scan = SCANNER.content(&http::HeaderMap::new(), Exemptions::default());
                let text = format!("{{\"content\": \"see {near} for more\"}}");
                let verdict = scan.push(text.into()).and_then(|_| scan.finish());
                if let Err(finding) = verdict {
                    reported.push(format!("{} ({kind}) as {}", rule.id(), finding.rule));
                }
            }
        }
    }
    println!("{} of {sent} reported: {:.2} %", reported.len(), 100.0 * reported.len() as f64 / f64::from(sent));
    for line in &reported {
        println!("{line}");
    }
    assert!(reported.len() * 1000 <= sent as usize, "more than one in a thousand");
}

#[test]
fn documented_examples_and_placeholders_are_not_reported() {
    // In parts, so that no other scanner takes this file for a leak.
    let examples = [
        ["AKIA", "IOSFODNN7EXAMPLE"].concat(),
        ["aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"].concat(),
        ["ghp_", &"x".repeat(36)].concat(),
        ["sk-ant-api03-", &"X".repeat(95)].concat(),
        ["AIza", "SyA1234567890abcdefghijklmnopqrstuv"].concat(),
        ["sk_test_", "your_stripe_key_goes_here"].concat(),
        ["Authorization: Bearer ", "j2YnGtXjzzzHNjkd1CJxoQubA1o="].concat(),
        ["refresh_token=", "tGzv3JOkF0XG5Qx2TlKWIA"].concat(),
        [
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzb21lIjoicGF5bG9hZCJ9.",
            "4twFt5NiznN84AWoo1d7KO1T_yoc0Z6XOpOVswacPZg",
        ]
        .concat(),
        [
            "AccountName=devstoreaccount1;AccountKey=",
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
        ]
        .concat(),
        "postgres://user:password@localhost:5432/app".to_owned(),
        "postgres://app:${DB_PASSWORD}@db.internal/app".to_owned(),
        "https://<user>:<password>@example.com/".to_owned(),
        "Authorization: Bearer YOUR_ACCESS_TOKEN_GOES_HERE_1234".to_owned(),
        "DATADOG_API_KEY=00000000000000000000000000000000".to_owned(),
        ["-----BEGIN PRIVATE KEY-----", "\n...\n-----END PRIVATE KEY-----"].concat(),
    ];
    for example in examples {
        let mut scan = SCANNER.content(&http::HeaderMap::new(), Exemptions::default());
        let verdict = scan.push(format!("see {example}\n").into()).and_then(|_| scan.finish());
        assert!(verdict.is_ok(), "{example}: {}", verdict.err().map(|finding| finding.to_string()).unwrap_or_default());
    }
}

/// Variations that the format does not allow, or that a checksum gives away.
fn near(secret: &str, check: Option<Structure>) -> Vec<(&'static str, String)> {
    let middle = secret.len() - secret.len() / 4;
    let last = secret.chars().last().filter(char::is_ascii_alphanumeric);
    let mut all = vec![
        ("cut", secret[..secret.len() - 1].to_owned()),
        ("half", secret[..secret.len() / 2].to_owned()),
        ("foreign character", format!("{}!{}", &secret[..middle], &secret[middle + 1..])),
        ("redacted", format!("{}{}", &secret[..secret.len() / 2], "*".repeat(secret.len() / 2))),
    ];
    if last.is_some() {
        all.push(("longer", format!("{secret}0000000")));
    }
    if check == Some(Structure::GithubCrc32) || check == Some(Structure::Base58check) {
        let mut bytes = secret.as_bytes().to_vec();
        let place = bytes.len() - 9;
        bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
        all.push(("wrong checksum", String::from_utf8(bytes).unwrap()));
    }
    all
}

//! Every format in every carrier: what share is found.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use egress_proxy::scan::Scanner;

use crate::{
    carriers,
    generate::{Dice, secret},
};

pub(crate) static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));

#[test]
fn secrets_of_every_format_are_found_in_every_carrier() {
    let mut dice = Dice::new(7);
    let (mut sent, mut found) = (0, 0);
    let mut missed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for rule in SCANNER.rules() {
        let secret = secret(rule, &mut dice);
        for carrier in carriers::ALL {
            let Some(verdict) = (carrier.send)(&SCANNER, &secret) else { continue };
            sent += 1;
            if verdict.is_err() {
                found += 1;
            } else {
                missed.entry(carrier.name).or_default().push(rule.id().to_owned());
            }
        }
    }
    println!("{found} of {sent} found: {:.2} %", 100.0 * f64::from(found) / f64::from(sent));
    for (carrier, rules) in &missed {
        println!("{carrier}: {} missed: {}", rules.len(), rules.join(" "));
    }
    assert!(f64::from(found) >= 0.98 * f64::from(sent));
}

#[test]
fn a_rule_finds_whatever_its_expression_describes() {
    const TRIES: u64 = 16;
    let [plain, ..] = carriers::ALL else { panic!("there is a way to send text as it is") };
    for rule in SCANNER.rules() {
        let secrets = (0..TRIES).map(|seed| secret(rule, &mut Dice::new(seed)));
        let missed: Vec<String> =
            secrets.filter(|secret| matches!((plain.send)(&SCANNER, secret), Some(Ok(())))).collect();
        // Chance makes a word or too plain a value once in a while.
        assert!(missed.len() <= 2, "`{}` does not find {missed:#?}", rule.id());
    }
}

#[test]
fn there_are_at_least_120_formats() {
    assert!(SCANNER.rules().count() >= 120);
}

#[test]
fn a_finding_never_shows_what_was_found() {
    let mut dice = Dice::new(8);
    for rule in SCANNER.rules() {
        let secret = secret(rule, &mut dice);
        for carrier in carriers::ALL {
            let Some(Err(finding)) = (carrier.send)(&SCANNER, &secret) else { continue };
            let shown = format!("{finding} {} {:?}", finding.chain(), finding);
            let token = secret.split(|c: char| !c.is_ascii_alphanumeric()).max_by_key(|part| part.len());
            if let Some(token) = token.filter(|token| token.len() >= 12) {
                // With digits: no word of a description is one.
                for fragment in token.as_bytes().windows(8).filter(|part| part.iter().any(u8::is_ascii_digit)) {
                    let fragment = String::from_utf8_lossy(fragment);
                    assert!(!shown.contains(&*fragment), "{}: {shown}", rule.id());
                }
            }
        }
    }
}

//! A rules file: any text is either refused with a place in it, or makes a scanner that can be used.

use std::sync::Arc;

use bytes::Bytes;
use egress_proxy::scan::{Author, ExactValues, Exemptions, RulesFile, Scanner};
use http::HeaderMap;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match RulesFile::parse("rules.toml", text, "user", Author::User) {
        Ok(file) => {
            let scanner = Arc::new(Scanner::new(Some(file), ExactValues::default()));
            let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
            let _finding = scan.push(Bytes::copy_from_slice(input)).and_then(|_| scan.finish()).err();
        }
        Err(error) => {
            assert!(!error.problems().is_empty(), "refused without a word: {error}");
            let lines = text.split('\n').count();
            assert!(error.problems().iter().all(|problem| (1..=lines).contains(&problem.line)), "{error}");
        }
    }
}

//! What a record may not repeat. A request that is refused early has not been scanned, and what its client wrote into
//! method, host or path may be a secret all the same: whatever the scan knows is withheld, and the finding recorded.

use http::{HeaderMap, Method};
use shared::record::Outcome;

use crate::{
    policy::Policy,
    record::Recording,
    scan::{Exemptions, Finding, Scanner},
};

/// In place of a text that the scan knows.
const WITHHELD: &str = "(withheld: it holds what the scan finds)";

/// Takes out of an exchange's record what the scan finds in it. For exchanges that were refused: the others have been
/// scanned.
pub fn withhold(policy: &Policy, recording: &Recording) {
    let table = policy.table();
    let scanner = table.scanner();
    recording.note(|draft| {
        if draft.outcome == Outcome::Completed {
            return;
        }
        let mut findings = Vec::new();
        let mut clean = |method: &Method, authority: &str, target: &str| {
            let finding = look(scanner, method, authority, target);
            let is_clean = finding.is_none();
            findings.extend(finding);
            is_clean
        };
        if !clean(&draft.method, "", "") {
            draft.method = Method::from_bytes(b"WITHHELD").unwrap_or_default();
        }
        if draft.authority.as_ref().is_some_and(|authority| !clean(&Method::GET, &authority.host.to_string(), "")) {
            draft.authority = None;
        }
        // A path in which something was found is left out by the record itself.
        let _told = draft.target.as_ref().is_some_and(|target| clean(&Method::GET, "", target.path()));
        if draft.reason.as_deref().is_some_and(|reason| look(scanner, &Method::GET, reason, "").is_some()) {
            draft.reason = Some(WITHHELD.to_owned());
        }
        for finding in findings {
            if !draft.findings.contains(&finding) {
                draft.findings.push(finding);
            }
        }
    });
}

/// A text of a client's that a tunnel's record shall hold.
pub fn shown(policy: &Policy, text: String) -> String {
    match look(policy.table().scanner(), &Method::GET, &text, "") {
        Some(_) => WITHHELD.to_owned(),
        None => text,
    }
}

fn look(scanner: &Scanner, method: &Method, authority: &str, target: &str) -> Option<Finding> {
    scanner.head(method, authority, target, &HeaderMap::new(), &Exemptions::default()).err()
}

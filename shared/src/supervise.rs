//! What an agent may ask its operator for, and the lines that carry it between the supervise sidecar and the launcher.
//!
//! A [`Proposal`] exists only checked, also when it was read from a line or a file: it asks for one more host, over HTTPS,
//! without a credential, and every word of it may be shown on a terminal. The launcher takes no sidecar's word for that.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::authority::{Host, HostPattern};
use crate::routes::path::{AmbiguousPath, check_unambiguous};
use crate::routes::{Match, PathRule, PathRules, Ports, Route};

/// A route that an agent asks for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Wish")]
pub struct Proposal {
    host: String,
    methods: Vec<String>,
    paths: Vec<String>,
    reason: String,
}

/// A proposal as an agent writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    pub host: String,
    /// Empty: `GET` and `HEAD`.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Prefixes by segment, as in a route's `path_allowlist`. Empty: all.
    #[serde(default)]
    pub paths: Vec<String>,
    pub reason: String,
}

impl Proposal {
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// In the agent's words, which may be those of whoever hijacked it.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether both ask for the same, whatever their reasons.
    pub fn asks_the_same_as(&self, other: &Self) -> bool {
        (&self.host, &self.methods, &self.paths) == (&other.host, &other.methods, &other.paths)
    }

    /// The rule that it asks for.
    pub fn rule(&self) -> Match {
        let paths = self.paths.iter().cloned().map(PathRule::Prefix).collect();
        Match { methods: self.methods.clone(), paths, headers: Vec::new() }
    }

    /// A route for a host of proposals: HTTPS on its own port, without a credential, scanned and inspected like any other.
    pub fn route(host: HostPattern, rules: Vec<Match>) -> Route {
        Route { ports: Ports::Listed(vec![443]), paths: PathRules::Matches(rules), ..Route::bare(host) }
    }
}

impl TryFrom<Wish> for Proposal {
    type Error = Unacceptable;

    fn try_from(wish: Wish) -> Result<Self, Unacceptable> {
        let host = host(&wish.host)?;
        Ok(Self { host, methods: methods(&wish.methods)?, paths: paths(wish.paths)?, reason: reason(&wish.reason)? })
    }
}

/// One line: what is asked for, without the reason.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} https://{}{}", self.methods.join("|"), self.host, self.paths.join(" "))
    }
}

/// A line of the sidecar's stdout.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Counted from 1.
    pub number: u32,
    pub proposal: Proposal,
}

/// A line of the sidecar's stdin.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    pub number: u32,
    pub outcome: Outcome,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By the operator, and the route is in force.
    Approved,
    /// By the operator.
    Rejected,
    /// By `bottle` itself: the operator is not asked for such a thing, or it could not be done.
    Refused,
}

/// Why a wish is no proposal. Told to the agent.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Unacceptable {
    #[error("an IP address cannot be proposed: name the host")]
    Address,
    #[error("`host` is no host name with a domain: write it as `api.example.com`, without a scheme, port or path")]
    Host,
    #[error("a wildcard cannot be proposed: name one host")]
    Wildcard,
    #[error("a method is none of {}", METHODS.join(", "))]
    Method,
    #[error("more than {MAX_PATHS} paths; propose the prefix that they share")]
    ManyPaths,
    #[error(
        "a path has a query or holds more than visible ASCII, or the paths are longer than {MAX_PATH_BYTES} bytes in all"
    )]
    Path,
    #[error("a path is ambiguous: {0}")]
    AmbiguousPath(#[from] AmbiguousPath),
    #[error("`reason` is empty: say in a sentence what the route is for")]
    ReasonMissing,
    #[error("`reason` is longer than {MAX_REASON} characters")]
    LongReason,
}

fn host(text: &str) -> Result<String, Unacceptable> {
    if text.contains('*') {
        return Err(Unacceptable::Wildcard);
    }
    match text.parse::<Host>() {
        Ok(Host::Ip(_)) => Err(Unacceptable::Address),
        Ok(Host::Name(name)) if name.contains('.') => Ok(name.to_string()),
        Ok(Host::Name(_)) | Err(_) => Err(Unacceptable::Host),
    }
}

/// In one order, each once, so that the same wish is the same proposal.
fn methods(wished: &[String]) -> Result<Vec<String>, Unacceptable> {
    let is_wished = |method: &str| wished.iter().any(|wish| wish.eq_ignore_ascii_case(method));
    if !wished.iter().all(|wish| METHODS.iter().any(|method| method.eq_ignore_ascii_case(wish))) {
        return Err(Unacceptable::Method);
    }
    let methods = if wished.is_empty() { &METHODS[..2] } else { &METHODS[..] };
    Ok(methods.iter().filter(|method| wished.is_empty() || is_wished(method)).map(|&method| method.into()).collect())
}

fn paths(mut wished: Vec<String>) -> Result<Vec<String>, Unacceptable> {
    if wished.len() > MAX_PATHS {
        return Err(Unacceptable::ManyPaths);
    }
    if wished.iter().map(String::len).sum::<usize>() > MAX_PATH_BYTES {
        return Err(Unacceptable::Path);
    }
    for path in &wished {
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?') {
            return Err(Unacceptable::Path);
        }
        check_unambiguous(path)?;
    }
    if wished.is_empty() {
        wished.push("/".to_owned());
    }
    wished.sort();
    wished.dedup();
    Ok(wished)
}

/// One line of letters, digits and plain punctuation: nothing in it moves a cursor, hides, or turns the direction of what
/// stands around it.
fn reason(text: &str) -> Result<String, Unacceptable> {
    let words: Vec<String> = text.split_whitespace().map(|word| word.replace(|c| !is_plain(c), "\u{fffd}")).collect();
    let line = words.join(" ");
    match line.chars().count() {
        0 => Err(Unacceptable::ReasonMissing),
        length if length > MAX_REASON => Err(Unacceptable::LongReason),
        _ => Ok(line),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() || c.is_alphanumeric() || "\u{fffd}–—‘’“”…«»¿¡€£°".contains(c)
}

/// The longest line that either side reads.
pub const MAX_LINE: usize = 16 << 10;

const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
// All of a proposal is in sight on a terminal of 80 by 24.
const MAX_PATHS: usize = 8;
const MAX_PATH_BYTES: usize = 300;
const MAX_REASON: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(host: &str, methods: &[&str], paths: &[&str], reason: &str) -> Result<Proposal, Unacceptable> {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Wish { host: host.into(), methods: own(methods), paths: own(paths), reason: reason.into() }.try_into()
    }

    #[test]
    fn a_wish_has_one_form() {
        let proposal = wish("API.Example.com.", &["post", "GET", "get"], &["/b", "/a/", "/b"], " for\n the  build ");
        let proposal = proposal.unwrap();
        assert_eq!(proposal.to_string(), "GET|POST https://api.example.com/a/ /b");
        assert_eq!(proposal.reason(), "for the build");
        let json = serde_json::to_string(&proposal).unwrap();
        assert_eq!(serde_json::from_str::<Proposal>(&json).unwrap(), proposal);
    }

    #[test]
    fn reading_all_of_a_host_is_what_is_asked_when_nothing_is_said() {
        assert_eq!(wish("a.example", &[], &[], "x").unwrap().to_string(), "GET|HEAD https://a.example/");
    }

    #[test]
    fn what_an_operator_cannot_judge_is_not_asked() {
        for (host, why) in [
            ("*.example.com", Unacceptable::Wildcard),
            ("*", Unacceptable::Wildcard),
            ("192.0.2.1", Unacceptable::Address),
            ("[2001:db8::1]", Unacceptable::Address),
            ("localhost", Unacceptable::Host),
            ("supervise", Unacceptable::Host),
            ("https://a.example", Unacceptable::Host),
            ("a.example:8443", Unacceptable::Host),
            ("a.example/", Unacceptable::Host),
            ("a.example\u{202e}", Unacceptable::Host),
            ("a@b.example", Unacceptable::Host),
            ("", Unacceptable::Host),
        ] {
            assert_eq!(wish(host, &[], &[], "x"), Err(why), "{host}");
        }
        for method in ["CONNECT", "TRACE", "GET ", "", "G\u{1b}ET", "PROPFIND"] {
            assert_eq!(wish("a.example", &[method], &[], "x"), Err(Unacceptable::Method), "{method:?}");
        }
        for path in ["", "a", "/a/../b", "/%2e%2e/", "/a//b", "/a?b", "/a b", "/a\u{1b}[2J", "/ä", "/%00"] {
            assert!(wish("a.example", &[], &[path], "x").is_err(), "{path:?}");
        }
        assert_eq!(wish("a.example", &[], &["/"; 9], "x"), Err(Unacceptable::ManyPaths));
        assert_eq!(wish("a.example", &[], &[&format!("/{}", "a".repeat(300))], "x"), Err(Unacceptable::Path));
    }

    #[test]
    fn a_reason_steers_no_terminal() {
        let hostile = "fine\u{1b}[2K\r\napproved \u{202e}moc.live\u{2066}\u{200b}\u{9b}31m\u{7}\u{feff}\u{e0041}";
        let shown = wish("a.example", &[], &[], hostile).unwrap().reason;
        assert_eq!(
            shown,
            "fine\u{fffd}[2K approved \u{fffd}moc.live\u{fffd}\u{fffd}\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(wish("a.example", &[], &[], " \n\t "), Err(Unacceptable::ReasonMissing));
        assert_eq!(wish("a.example", &[], &[], &"a".repeat(201)), Err(Unacceptable::LongReason));
        assert_eq!(wish("a.example", &[], &[], "für die Prüfung – 検査").unwrap().reason, "für die Prüfung – 検査");
    }

    #[test]
    fn a_line_that_was_tampered_with_is_no_proposal() {
        for line in [
            r#"{"host": "*.example.com", "methods": ["GET"], "paths": ["/"], "reason": "x"}"#,
            r#"{"host": "a.example", "reason": "x", "auth": {"scheme": "Bearer"}}"#,
            r#"{"host": "a.example", "reason": "x", "inspect": "off"}"#,
        ] {
            assert!(serde_json::from_str::<Proposal>(line).is_err(), "{line}");
        }
    }
}

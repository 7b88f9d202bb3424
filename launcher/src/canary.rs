//! A request that a bottle's table grants: what a made-up key is sent with, to see whether the scan speaks. Pure.

use http::HeaderMap;
use shared::authority::{Authority, HostPattern};
use shared::routes::{PathRule, PathRules, Ports, Route, Routes, ScanMode, Scheme, Subject};

/// A method and a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    pub method: &'static str,
    pub url: String,
}

impl Canary {
    /// The first that the judge would let out and the scan would look at; none where no route is scanned, or only by rules
    /// that cannot be guessed.
    pub fn of(routes: &Routes) -> Option<Self> {
        routes.iter().filter(|route| route.scan.is_none_or(|mode| mode == ScanMode::Block)).find_map(|route| {
            let authority = authority(route)?;
            let paths = paths(route);
            let fields = HeaderMap::new();
            let mut requests = paths.iter().flat_map(|path| METHODS.map(|method| (method, path.as_str())));
            let granted = requests.find(|&(method, target)| {
                let subject = Subject { scheme: Scheme::Https, authority: &authority, method, target, fields: &fields };
                // A more specific route may be the one that decides.
                routes.judge(&subject).is_ok_and(|grant| grant.route.host == route.host)
            });
            granted.map(|(method, path)| Self { method, url: format!("https://{authority}{path}") })
        })
    }
}

fn authority(route: &Route) -> Option<Authority> {
    let host = match &route.host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(suffix) => format!("canary.{suffix}").parse().ok()?,
    };
    let port = match &route.ports {
        Ports::Any | Ports::Default => 443,
        Ports::Listed(ports) => *ports.first()?,
    };
    Some(Authority::new(host, port))
}

/// Paths that its rules may cover.
fn paths(route: &Route) -> Vec<String> {
    let guess = |rule: &PathRule| match rule {
        PathRule::Exact(path) => Some(path.clone()),
        PathRule::Prefix(path) if path.ends_with('/') => Some(format!("{path}canary")),
        PathRule::Prefix(path) => Some(path.clone()),
        PathRule::Regex { .. } => None,
    };
    let rules: Vec<&PathRule> = match &route.paths {
        PathRules::Any => vec![],
        PathRules::Prefixes(rules) => rules.iter().collect(),
        PathRules::Matches(matches) => matches.iter().flat_map(|entry| &entry.paths).collect(),
    };
    rules.into_iter().filter_map(guess).chain(["/".to_owned()]).collect()
}

/// Those that change nothing, should one get out, and whose refusal can be read.
const METHODS: [&str; 2] = ["GET", "OPTIONS"];

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(table: &str) -> Option<(&'static str, String)> {
        let text = format!("routes: [{table}]");
        let mut log = shared::yaml::Diagnostics::default();
        let routes = shared::routes::decode(&text, shared::routes::Dialect::Proxy, &mut log).unwrap();
        Canary::of(&routes).map(|canary| (canary.method, canary.url))
    }

    #[test]
    fn a_canary_is_something_that_the_table_grants() {
        let get = |url: &str| Some(("GET", url.to_owned()));
        assert_eq!(canary("{host: a.example}"), get("https://a.example:443/"));
        assert_eq!(canary("{host: '*.a.example'}"), get("https://canary.a.example:443/"));
        assert_eq!(canary("{host: a.example, ports: [8443]}"), get("https://a.example:8443/"));
        assert_eq!(canary("{host: a.example, path_allowlist: [/x/]}"), get("https://a.example:443/x/canary"));
        assert_eq!(canary("{host: a.example, scan: off}, {host: b.example}"), get("https://b.example:443/"));
        let matches = "{host: a.example, matches: [{methods: [OPTIONS], paths: [{type: exact, value: /y}]}]}";
        assert_eq!(canary(matches), Some(("OPTIONS", "https://a.example:443/y".to_owned())));
    }

    #[test]
    fn where_nothing_is_scanned_there_is_none() {
        assert_eq!(canary("{host: a.example, scan: off}, {host: b.example, scan: record}"), None);
        assert_eq!(canary("{host: a.example, matches: [{methods: [POST]}]}"), None);
    }
}

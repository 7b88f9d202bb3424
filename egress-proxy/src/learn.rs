//! The smallest table that grants what was seen: hosts as they were named, never a wildcard; methods as they were used;
//! paths as they were asked for, merged to a prefix only where so many were seen below one that listing them says less.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use shared::routes::{Subject, path::check_unambiguous};

use crate::{
    files,
    traffic::{Seen, Then, Traffic},
};

/// How a table is proposed.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// So many different names below one path are merged to "everything below it".
    pub merge: usize,
    pub refused: Refused,
}

/// What becomes of requests that the table of that time refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    Granted,
    LeftOut,
}

/// Everything seen of one host.
#[derive(Default)]
struct HostSeen<'t> {
    ports: BTreeSet<(u16, bool)>,
    credentials: BTreeSet<&'t str>,
    /// Methods by path.
    paths: BTreeMap<&'t str, BTreeSet<&'t str>>,
    withheld: usize,
    requests: usize,
}

/// Proposes a table, as YAML with comments.
pub fn propose(traffic: &Traffic, wish: Wish) -> String {
    let taken = |seen: &&Seen| seen.then == Then::Granted || wish.refused == Refused::Granted;
    let left_out = traffic.seen.iter().filter(|seen| !taken(seen)).count();
    let mut hosts: BTreeMap<String, HostSeen<'_>> = BTreeMap::new();
    for seen in traffic.seen.iter().filter(taken) {
        let host = hosts.entry(seen.authority.host.to_string()).or_default();
        host.requests += 1;
        host.ports.insert((seen.authority.port, seen.authority.port == seen.scheme.default_port()));
        host.credentials.extend(seen.credential.as_deref());
        match seen.target.as_deref().and_then(|target| target.split('?').next()) {
            // No path rule covers what could be read in two ways.
            Some(path) if check_unambiguous(path).is_err() => {}
            Some(path) => {
                host.paths.entry(path).or_default().insert(&seen.method);
            }
            None => host.withheld += 1,
        }
    }
    let mut text = String::from("# Proposed from what was seen; read it before you use it.\n");
    let requests: usize = hosts.values().map(|host| host.requests).sum();
    let _ = writeln!(text, "# {requests} requests to {} hosts.", hosts.len());
    if left_out + traffic.aside > 0 {
        let _ =
            writeln!(text, "# Left out: {left_out} that were refused, {} that no table decides about.", traffic.aside);
    }
    // A host of which no path is known would be granted whole.
    let (known, unknown): (Vec<_>, Vec<_>) = hosts.iter().partition(|(_, host)| !host.paths.is_empty());
    for (name, _) in unknown {
        let _ = writeln!(text, "# Not granted: no path of {} is known.", quoted(name));
    }
    text.push_str(if known.is_empty() { "routes: []\n" } else { "routes:\n" });
    for (name, host) in known {
        route(&mut text, name, host, wish.merge);
    }
    not_covered(&mut text, traffic, taken);
    text
}

fn route(text: &mut String, name: &str, host: &HostSeen<'_>, merge: usize) {
    let _ = writeln!(text, "  # {} requests", host.requests);
    if host.withheld > 0 {
        let _ = writeln!(text, "  # {} of them had a finding in them: their paths are not known.", host.withheld);
    }
    let _ = writeln!(text, "  - host: {}", quoted(name));
    if host.ports.iter().any(|(_, is_default)| !is_default) {
        let ports: BTreeSet<String> = host.ports.iter().map(|(port, _)| port.to_string()).collect();
        let _ = writeln!(text, "    ports: [{}]", ports.into_iter().collect::<Vec<_>>().join(", "));
    }
    for credential in &host.credentials {
        let _ = writeln!(
            text,
            "    # The proxy added {}: `auth` is to be copied from the table of that time.",
            quoted(credential)
        );
    }
    // Rules of one set of methods are one entry.
    let mut entries: BTreeMap<Vec<&str>, BTreeSet<Rule>> = BTreeMap::new();
    for (rule, methods) in Tree::of(&host.paths).rules(merge) {
        entries.entry(methods.into_iter().collect()).or_default().insert(rule);
    }
    text.push_str("    matches:\n");
    for (methods, rules) in entries {
        let methods: Vec<_> = methods.into_iter().map(quoted).collect();
        let _ = writeln!(text, "      - methods: [{}]", methods.join(", "));
        text.push_str("        paths:\n");
        for rule in rules {
            let (kind, value, note) = match &rule {
                Rule::Exact(path) => ("exact", path, String::new()),
                Rule::Below(path, count) => ("prefix", path, format!(" # {count} seen below")),
            };
            let _ = writeln!(text, "          - {{type: {kind}, value: {}}}{note}", quoted(value));
        }
    }
}

/// Asks the judge about the proposal itself, and names what it would refuse all the same: ambiguous paths, pushes.
fn not_covered<'t>(text: &mut String, traffic: &'t Traffic, taken: impl Fn(&&'t Seen) -> bool) {
    let Ok(routes) = files::parse_routes(text, "the proposal") else { return };
    let mut refused = BTreeSet::new();
    for seen in traffic.seen.iter().filter(taken) {
        let Some(target) = &seen.target else { continue };
        let Seen { scheme, authority, method, fields, .. } = seen;
        if let Err(refusal) = routes.judge(&Subject { scheme: *scheme, authority, method, target, fields }) {
            let path = target.split('?').next().unwrap_or_default();
            refused.insert(format!("# Not granted: {} {authority} {}: {refusal}", quoted(method), quoted(path)));
        }
    }
    for line in refused {
        let _ = writeln!(text, "{line}");
    }
}

/// A rule over paths.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum Rule {
    /// Everything below a path that ends in a slash, of which so many were seen.
    Below(String, usize),
    Exact(String),
}

/// Paths by segments.
#[derive(Default)]
struct Tree<'t> {
    /// Methods of the path that ends here.
    methods: BTreeSet<&'t str>,
    children: BTreeMap<&'t str, Tree<'t>>,
}

impl<'t> Tree<'t> {
    fn of(paths: &BTreeMap<&'t str, BTreeSet<&'t str>>) -> Self {
        let mut root = Self::default();
        for (path, methods) in paths {
            let mut node = &mut root;
            for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
                node = node.children.entry(segment).or_default();
            }
            node.methods.extend(methods);
        }
        root
    }

    /// Rules with the methods that they were seen with.
    fn rules(&self, merge: usize) -> Vec<(Rule, BTreeSet<&'t str>)> {
        let mut rules = Vec::new();
        // The root is never merged: that would be the whole host.
        for (segment, child) in &self.children {
            child.collect(&format!("/{segment}"), merge, &mut rules);
        }
        rules
    }

    fn collect(&self, path: &str, merge: usize, rules: &mut Vec<(Rule, BTreeSet<&'t str>)>) {
        if !self.methods.is_empty() {
            rules.push((Rule::Exact(path.to_owned()), self.methods.clone()));
        }
        if self.children.len() >= merge {
            let methods = self.children.values().flat_map(Self::all_methods).collect();
            rules.push((Rule::Below(format!("{path}/"), self.children.len()), methods));
            return;
        }
        for (segment, child) in &self.children {
            child.collect(&format!("{path}/{segment}"), merge, rules);
        }
    }

    fn all_methods(&self) -> BTreeSet<&'t str> {
        let below = self.children.values().flat_map(Self::all_methods);
        self.methods.iter().copied().chain(below).collect()
    }
}

/// A scalar that YAML reads as this text and nothing else.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use shared::routes::Scheme;

    use super::*;

    fn seen(method: &str, url: &str) -> Seen {
        let uri: http::Uri = url.parse().unwrap();
        Seen {
            scheme: Scheme::Https,
            authority: shared::authority::Authority::parse(uri.authority().unwrap().as_str(), 443).unwrap(),
            method: method.to_owned(),
            target: Some(uri.path_and_query().unwrap().to_string()),
            fields: HeaderMap::new(),
            then: Then::Granted,
            credential: None,
        }
    }

    fn proposal(all: &[Seen]) -> String {
        let traffic = Traffic { seen: all.to_vec(), aside: 0 };
        propose(&traffic, Wish { merge: 4, refused: Refused::LeftOut })
    }

    #[test]
    fn what_was_seen_is_granted_and_its_neighbours_are_not() {
        let all = [
            seen("GET", "https://a.example/user"),
            seen("POST", "https://a.example/user/keys?x=1"),
            seen("GET", "https://b.example:8443/"),
            seen("GET", "https://a.example/items/1"),
            seen("GET", "https://a.example/items/2/x"),
            seen("DELETE", "https://a.example/items/3"),
            seen("GET", "https://a.example/items/4"),
        ];
        let text = proposal(&all);
        let routes = files::parse_routes(&text, "the proposal").unwrap();
        let granted = |method: &str, url: &str| {
            let Seen { scheme, authority, target, fields, .. } = seen(method, url);
            let target = target.unwrap();
            let subject = Subject { scheme, authority: &authority, method, target: &target, fields: &fields };
            routes.judge(&subject).is_ok()
        };
        for seen in &all {
            let url = format!("https://{}{}", seen.authority, seen.target.as_deref().unwrap());
            assert!(granted(&seen.method, &url), "{} {url} in {text}", seen.method);
        }
        assert!(granted("GET", "https://a.example/items/5"), "four were seen: {text}");
        for (method, url) in [
            ("POST", "https://a.example/user"),
            ("GET", "https://a.example/user/keys"),
            ("GET", "https://a.example/"),
            ("GET", "https://a.example/user/x"),
            ("PUT", "https://a.example/items/1"),
            ("GET", "https://sub.a.example/user"),
            ("GET", "https://b.example/"),
            ("GET", "https://b.example:8443/x"),
        ] {
            assert!(!granted(method, url), "{method} {url} in {text}");
        }
        assert!(!text.contains('*'), "{text}");
    }

    #[test]
    fn what_path_rules_refuse_is_named_instead_of_granted() {
        let text = proposal(&[seen("GET", "https://a.example/x//y"), seen("GET", "https://a.example/z")]);
        assert!(text.contains("# Not granted: \"GET\" a.example:443 \"/x//y\": the path is ambiguous"), "{text}");
    }

    #[test]
    fn a_path_cannot_write_yaml() {
        let text = proposal(&[seen("GET", "https://a.example/x'}],auth:[")]);
        let routes = files::parse_routes(&text, "the proposal").unwrap();
        assert_eq!(routes.iter().len(), 1, "{text}");
        assert!(routes.iter().all(|route| route.auth.is_none()), "{text}");
    }

    #[test]
    fn nothing_seen_is_nothing_granted() {
        assert!(files::parse_routes(&proposal(&[]), "the proposal").unwrap().is_empty());
    }
}

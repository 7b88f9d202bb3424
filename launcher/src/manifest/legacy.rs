//! Keys of the format that this one replaces: never read, always answered with what to write instead.

use std::fmt::Write as _;

use shared::yaml::{Diagnostics, Entry, Map, Node};

/// Reports every legacy key of a bottle with its migration.
pub(super) fn report(map: &mut Map<'_, '_>, log: &mut Diagnostics) {
    for (key, migration) in MIGRATIONS {
        if let Some(entry) = map.take_entry(key) {
            let error = entry.key.error(format!("`{key}` is no longer read"));
            log.push(error.with_hint(migration(&entry)));
        }
    }
}

type Migration = fn(&Entry<'_, '_>) -> String;

const MIGRATIONS: [(&str, Migration); 5] =
    [("cred_proxy", cred_proxy), ("egress", egress), ("runtime", runtime), ("ssh", ssh), ("tokens", tokens)];

fn cred_proxy(entry: &Entry<'_, '_>) -> String {
    let mut text = "its routes go under `egress_proxy`, by host:\n  egress_proxy:\n    routes:".to_owned();
    for route in items(entry.value, "routes") {
        let upstream = field(route, "upstream").unwrap_or("https://HOST");
        let without_scheme = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
        let (host, path) = without_scheme.split_once('/').unwrap_or((without_scheme, ""));
        let _ = write!(text, "\n      - host: {host}");
        if !path.is_empty() {
            let _ = write!(text, "\n        path_allowlist: [/{path}]");
        }
        let scheme = field(route, "auth_scheme").unwrap_or("Bearer");
        let token = field(route, "token_ref").unwrap_or("VARIABLE");
        let _ = write!(text, "\n        auth: {{scheme: {scheme}, token_ref: {token}}}");
    }
    text
}

fn egress(entry: &Entry<'_, '_>) -> String {
    let mut text = "each host is a route:\n  egress_proxy:\n    routes:".to_owned();
    let listed = match entry.value.as_text() {
        Some(_) => vec![],
        None => [items(entry.value, "allowlist"), items(entry.value, "allow"), plain_items(entry.value)].concat(),
    };
    for host in listed.iter().filter_map(|node| node.as_text()) {
        let _ = write!(text, "\n      - host: {host}");
    }
    if listed.is_empty() {
        text.push_str("\n      - host: NAME");
    }
    text
}

fn runtime(_: &Entry<'_, '_>) -> String {
    "remove it: gVisor is used where the engine offers it".to_owned()
}

fn ssh(entry: &Entry<'_, '_>) -> String {
    let mut text = "repositories go under `git`, and the key stays with git-gate:\n  git:".to_owned();
    let listed = plain_items(entry.value);
    let hosts =
        listed.iter().map(|item| (field(*item, "Hostname").or(field(*item, "Host")), field(*item, "IdentityFile")));
    let hosts: Vec<_> = if listed.is_empty() { vec![(None, None)] } else { hosts.collect() };
    for (host, key) in hosts {
        let (host, key) = (host.unwrap_or("HOST"), key.unwrap_or("~/.ssh/KEY"));
        let _ = write!(text, "\n    - Name: NAME\n      Upstream: ssh://git@{host}/PATH.git");
        let _ = write!(text, "\n      IdentityFile: {key}\n      KnownHostKey: ssh-ed25519 KEY");
    }
    text
}

fn tokens(_: &Entry<'_, '_>) -> String {
    "a token belongs to the route that uses it:\n  egress_proxy:\n    routes:\n      - host: HOST\n        \
     auth: {scheme: Bearer, token_ref: VARIABLE}"
        .to_owned()
}

/// The list under `key` of a mapping; empty where there is none.
fn items<'d, 't>(node: Node<'d, 't>, key: &'static str) -> Vec<Node<'d, 't>> {
    let log = &mut Diagnostics::default(); // the old key is an error already; its content is only quoted
    let list = node.map(log).and_then(|mut map| map.take(key)).and_then(|list| list.list(log));
    list.unwrap_or_default()
}

fn plain_items<'d, 't>(node: Node<'d, 't>) -> Vec<Node<'d, 't>> {
    node.list(&mut Diagnostics::default()).unwrap_or_default()
}

fn field<'d>(node: Node<'d, '_>, key: &'static str) -> Option<&'d str> {
    node.map(&mut Diagnostics::default())?.take(key)?.as_text()
}

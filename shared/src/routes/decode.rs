//! YAML text → [`Routes`], with every error of the file located. Reads no file and looks no variable up.

use http::{HeaderName, HeaderValue};
use regex::{Regex, RegexBuilder};

use super::{
    Auth, AuthScheme, CredentialSource, FieldRule, FieldValueRule, InspectMode, Match, PathRule, PathRules, Ports,
    Route, Routes, ScanMode,
};
use crate::yaml::{Diagnostics, Document, Map, Node, suggestion};

/// Who reads the table: the two differ in how a credential is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// `token_ref`: a variable of the host's environment.
    Manifest,
    /// `token_env` or `token_file`.
    Proxy,
}

/// The keys of one entry, for suggestions elsewhere.
pub const ENTRY_KEYS: [&str; 9] =
    ["host", "ports", "path_allowlist", "matches", "auth", "keep", "inspect", "scan", "scan_except"];

/// Reads a whole table: a mapping with the key `routes`.
///
/// `None` where anything was reported to `log`.
pub fn decode(text: &str, dialect: Dialect, log: &mut Diagnostics) -> Option<Routes> {
    let document = Document::parse(text, 1).map_err(|error| log.push(error)).ok()?;
    let Some(root) = document.root() else {
        log.push(crate::yaml::Diagnostic {
            line: 1,
            column: 1,
            length: 1,
            message: "the table is empty".to_owned(),
            hint: Some("write `routes: []` for a table that grants nothing".to_owned()),
        });
        return None;
    };
    let mut map = root.map(log)?;
    let list = map.require("routes", log);
    map.finish(log);
    decode_list(&list?, dialect, log)
}

/// Reads the list under `routes`.
pub fn decode_list(list: &Node<'_, '_>, dialect: Dialect, log: &mut Diagnostics) -> Option<Routes> {
    let items = list.list(log)?;
    let decoded: Vec<_> = items.iter().map(|item| decode_entry(item, dialect, log)).collect();
    if !log.is_empty() {
        return None;
    }
    let entries: Vec<Route> = decoded.into_iter().flatten().collect();
    Routes::new(entries)
        .map_err(|repeated| {
            let (first, second) = (&items[repeated.first], &items[repeated.second]);
            let error = second.error(format!("a second route for the host of line {}", first.line()));
            log.push(error.with_hint("join both into one route; `matches` and `path_allowlist` take several rules"));
        })
        .ok()
}

/// Reads one entry of the list.
pub fn decode_entry(item: &Node<'_, '_>, dialect: Dialect, log: &mut Diagnostics) -> Option<Route> {
    let mut map = item.map(log)?;
    let host = map.require("host", log).and_then(|node| parse(&node, log));
    let ports = map.take("ports").map_or(Some(Ports::Default), |node| ports(&node, log));
    let paths = paths(&mut map, log);
    let auth = match map.take("auth") {
        Some(node) => Some(auth(&node, dialect, log)?),
        None => None,
    };
    let keep = map.take_entry("keep");
    let keep = match keep {
        Some(entry) => {
            if auth.is_some() {
                let error = entry.key.error("`keep` on a route with `auth`");
                log.push(error.with_hint("a route either injects its own credential or lets the agent's pass"));
            }
            entry.value.list(log)?.iter().filter_map(|node| parse(node, log)).collect()
        }
        None => Vec::new(),
    };
    let inspect = map.take("inspect").and_then(|node| inspect(&node, log));
    let scan = map.take("scan").and_then(|node| scan(&node, log));
    let scan_except = map.take("scan_except").and_then(|node| node.texts(log)).unwrap_or_default();
    map.finish(log);
    Some(Route {
        host: host?,
        ports: ports?,
        paths: paths?,
        auth,
        keep,
        inspect,
        scan,
        scan_except: scan_except.into_iter().map(|rule| rule.value).collect(),
        line: item.line(),
    })
}

fn parse<T: std::str::FromStr>(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    node.text(log)?.parse().map_err(|error: T::Err| log.push(node.error(error.to_string()))).ok()
}

fn ports(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Ports> {
    if node.as_text() == Some("any") {
        return Some(Ports::Any);
    }
    let items = node.list(log)?;
    if items.is_empty() {
        log.push(node.error("no port").with_hint("leave `ports` out for 443 (and 80 for `http://`)"));
    }
    let port = |item: &Node<'_, '_>, log: &mut Diagnostics| {
        let number = item.integer(log)?;
        let port = u16::try_from(number).ok().filter(|port| *port != 0);
        if port.is_none() {
            log.push(item.error(format!("`{number}` is no port")));
        }
        port
    };
    Some(Ports::Listed(items.iter().filter_map(|item| port(item, log)).collect()))
}

fn paths(map: &mut Map<'_, '_>, log: &mut Diagnostics) -> Option<PathRules> {
    let allowlist = map.take_entry("path_allowlist");
    let matches = map.take_entry("matches");
    match (allowlist, matches) {
        (None, None) => Some(PathRules::Any),
        (Some(_), Some(matches)) => {
            let error = matches.key.error("`matches` beside `path_allowlist`");
            log.push(error.with_hint("write the prefixes as `paths: [{type: prefix, value: …}]` under `matches`"));
            None
        }
        (Some(allowlist), None) => {
            let items = non_empty(&allowlist.value, log)?;
            Some(PathRules::Prefixes(
                items.iter().filter_map(|node| Some(PathRule::Prefix(path(node, log)?))).collect(),
            ))
        }
        (None, Some(matches)) => {
            let items = non_empty(&matches.value, log)?;
            Some(PathRules::Matches(items.iter().filter_map(|node| one_match(node, log)).collect()))
        }
    }
}

/// An empty list would grant nothing, which nobody writes on purpose.
fn non_empty<'d, 't>(node: &Node<'d, 't>, log: &mut Diagnostics) -> Option<Vec<Node<'d, 't>>> {
    let items = node.list(log)?;
    if items.is_empty() {
        log.push(node.error("an empty list grants nothing").with_hint("leave the key out to grant the whole host"));
        return None;
    }
    Some(items)
}

fn path(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<String> {
    let text = node.text(log)?;
    if let Err(what) = super::path::check_unambiguous(text) {
        let error = node.error(format!("`{text}` can match no request: {what}"));
        log.push(error.with_hint("write the path as it is sent, starting with `/`, without a query"));
        return None;
    }
    if text.contains('?') {
        log.push(node.error("a path rule does not see the query").with_hint("end the rule before the `?`"));
        return None;
    }
    Some(text.to_owned())
}

fn one_match(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Match> {
    let mut map = node.map(log)?;
    let methods = map.take("methods").and_then(|node| node.texts(log)).unwrap_or_default();
    let methods = methods.into_iter().map(|method| {
        if http::Method::from_bytes(method.value.as_bytes()).is_err() {
            log.push(method.error(format!("`{}` is no method", method.value)));
        }
        method.value.to_ascii_uppercase()
    });
    let methods: Vec<String> = methods.collect();
    let paths = map.take("paths").and_then(|node| node.list(log)).unwrap_or_default();
    let paths: Vec<PathRule> = paths.iter().filter_map(|node| path_rule(node, log)).collect();
    let headers = map.take("headers").and_then(|node| node.list(log)).unwrap_or_default();
    let headers: Vec<FieldRule> = headers.iter().filter_map(|node| field_rule(node, log)).collect();
    if methods.is_empty() && paths.is_empty() && headers.is_empty() && log.is_empty() {
        let error = node.error("a match without methods, paths or headers");
        log.push(error.with_hint("leave `matches` out to grant the whole host"));
    }
    map.finish(log);
    Some(Match { methods, paths, headers })
}

fn path_rule(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<PathRule> {
    let mut map = node.map(log)?;
    let kind = map.take("type");
    let value = map.require("value", log);
    map.finish(log);
    let value = value?;
    match kind.map_or(Some("prefix"), |node| node.text(log))? {
        "exact" => path(&value, log).map(PathRule::Exact),
        "prefix" => path(&value, log).map(PathRule::Prefix),
        "regex" => {
            let (source, compiled) = regex(&value, log)?;
            Some(PathRule::Regex { source, compiled })
        }
        other => unknown_word(&kind?, other, &["prefix", "exact", "regex"], log),
    }
}

fn field_rule(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<FieldRule> {
    let mut map = node.map(log)?;
    let name = map.require("name", log).and_then(|node| parse::<HeaderName>(&node, log));
    let kind = map.take("type");
    let value = map.require("value", log);
    map.finish(log);
    let value = value?;
    let rule = match kind.map_or(Some("exact"), |node| node.text(log))? {
        "exact" => FieldValueRule::Exact(parse::<HeaderValue>(&value, log)?),
        "regex" => {
            let (source, compiled) = regex(&value, log)?;
            FieldValueRule::Regex { source, compiled }
        }
        other => return unknown_word(&kind?, other, &["exact", "regex"], log),
    };
    Some(FieldRule { name: name?, value: rule })
}

fn regex(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<(String, Regex)> {
    let source = node.text(log)?;
    let anchored = RegexBuilder::new(&format!("^(?:{source})$")).size_limit(1 << 20).build();
    let compiled = anchored.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        log.push(node.error(format!("not a regular expression: {reason}")));
    });
    Some((source.to_owned(), compiled.ok()?))
}

fn auth(node: &Node<'_, '_>, dialect: Dialect, log: &mut Diagnostics) -> Option<Auth> {
    let mut map = node.map(log)?;
    let scheme = map.require("scheme", log);
    let username = map.take_entry("username");
    let header = map.take_entry("header");
    let parameter = map.take_entry("parameter");
    let placeholder = map.take("placeholder").and_then(|node| variable(&node, log));
    let source = source(&mut map, dialect, log);
    map.finish(log);
    let scheme_node = scheme?;
    let scheme = match scheme_node.text(log)? {
        "Basic" => AuthScheme::Basic {
            username: username.and_then(|entry| {
                let name = entry.value.text(log)?;
                if name.contains(':') {
                    log.push(entry.value.error("a user name cannot hold a colon (RFC 7617)"));
                }
                Some(name.to_owned())
            }),
        },
        "Bearer" => AuthScheme::Bearer,
        "header" => {
            let Some(header) = header else {
                log.push(
                    scheme_node
                        .error("scheme `header` needs the key `header`")
                        .with_hint("name the field: `header: X-Api-Key`"),
                );
                return None;
            };
            AuthScheme::Header(injectable(&header.value, log)?)
        }
        "query" => {
            let Some(parameter) = parameter else {
                let error = scheme_node.error("scheme `query` needs the key `parameter`");
                log.push(error.with_hint("name the parameter of the query: `parameter: key`"));
                return None;
            };
            AuthScheme::Query { parameter: parameter_name(&parameter.value, log)? }
        }
        "token" => AuthScheme::Token,
        other => {
            return unknown_word(&scheme_node, other, &["Bearer", "token", "Basic", "header", "query"], log);
        }
    };
    if let (Some(entry), false) = (username, matches!(scheme, AuthScheme::Basic { .. })) {
        log.push(entry.key.error("`username` goes with scheme `Basic` only"));
    }
    if let (Some(entry), false) = (header, matches!(scheme, AuthScheme::Header(_))) {
        log.push(entry.key.error("`header` goes with scheme `header` only"));
    }
    if let (Some(entry), false) = (parameter, matches!(scheme, AuthScheme::Query { .. })) {
        log.push(entry.key.error("`parameter` goes with scheme `query` only"));
    }
    Some(Auth { scheme, source: source?, placeholder })
}

/// The parameter that a credential is written to: a name with one spelling.
fn parameter_name(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<String> {
    let name = node.text(log)?;
    if !super::query::is_plain_name(name) {
        let error = node.error(format!("`{name}` has more than one spelling in a query"));
        log.push(error.with_hint("letters, digits, `-`, `.`, `_` and `~` need no encoding"));
        return None;
    }
    Some(name.to_owned())
}

/// The field that a credential is written to: one that framing and routing do not depend on.
fn injectable(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<HeaderName> {
    const RESERVED: [&str; 16] = [
        "host",
        "connection",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "accept-encoding",
        "x-exchange",
        "range",
    ];
    let name: HeaderName = parse(node, log)?;
    if RESERVED.contains(&name.as_str()) {
        log.push(node.error(format!("`{name}` cannot carry a credential")));
        return None;
    }
    Some(name)
}

fn source(map: &mut Map<'_, '_>, dialect: Dialect, log: &mut Diagnostics) -> Option<CredentialSource> {
    if dialect == Dialect::Manifest {
        let node = map.require("token_ref", log)?;
        return variable(&node, log).map(CredentialSource::HostVariable);
    }
    let env = map.take("token_env");
    let file = map.take("token_file");
    match (env, file) {
        (Some(env), None) => variable(&env, log).map(CredentialSource::Env),
        (None, Some(file)) => Some(CredentialSource::File(file.text(log)?.into())),
        (None, None) => {
            log.push(
                map.node()
                    .error("`auth` without a credential")
                    .with_hint("add `token_env: NAME` or `token_file: PATH`"),
            );
            None
        }
        (Some(_), Some(file)) => {
            log.push(file.error("`token_file` beside `token_env`").with_hint("keep one of the two"));
            None
        }
    }
}

/// The name of a variable.
fn variable(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<String> {
    let text = node.text(log)?;
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Some(text.to_owned());
    }
    let error = node.error("not the name of a variable");
    log.push(error.with_hint("give the NAME of the variable that holds the value, never the value itself"));
    None
}

fn inspect(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<InspectMode> {
    if node.as_boolean() == Some(false) {
        return Some(InspectMode::Off);
    }
    match node.text(log)? {
        "exchange" => Some(InspectMode::Exchange),
        "off" => Some(InspectMode::Off),
        "request" => Some(InspectMode::Request),
        other => unknown_word(node, other, &["request", "exchange", "off"], log),
    }
}

fn scan(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<ScanMode> {
    if node.as_boolean() == Some(false) {
        return Some(ScanMode::Off);
    }
    match node.text(log)? {
        "block" => Some(ScanMode::Block),
        "off" => Some(ScanMode::Off),
        "record" => Some(ScanMode::Record),
        other => unknown_word(node, other, &["block", "record", "off"], log),
    }
}

fn unknown_word<T>(node: &Node<'_, '_>, word: &str, known: &[&str], log: &mut Diagnostics) -> Option<T> {
    log.push(node.error(format!("unknown value `{word}`")).with_hint(suggestion(word, known)));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let mut log = Diagnostics::default();
        let routes = decode(text, Dialect::Proxy, &mut log);
        assert_eq!(routes.is_none(), !log.is_empty());
        log.iter().map(|d| format!("{}:{} {}", d.line, d.column, d.message)).collect()
    }

    #[test]
    fn every_mistake_has_its_place() {
        for (text, expected) in [
            ("", "1:1 the table is empty"),
            ("routes:\n  - hots: a.example", "2:5 missing key `host`"),
            (
                "routes:\n  - host: '*'",
                "2:11 a bare `*` would grant every host; name the hosts, or use `*.example.com`",
            ),
            ("routes:\n  - host: a.example\n    auth: {}", "3:11 missing key `scheme`"),
            ("routes:\n  - host: a.example\n    auth: {scheme: Bearer}", "3:11 `auth` without a credential"),
            ("routes:\n  - host: a.example\n    auth: {scheme: Digest, token_env: A}", "3:20 unknown value `Digest`"),
            (
                "routes:\n  - host: a.example\n    auth: {scheme: Bearer, token_env: sk-ant-x}",
                "3:39 not the name of a variable",
            ),
            (
                "routes:\n  - host: a.example\n    auth: {scheme: header, token_env: A}",
                "3:20 scheme `header` needs the key `header`",
            ),
            (
                "routes:\n  - host: a.example\n    auth: {scheme: header, header: Host, token_env: A}",
                "3:36 `host` cannot carry a credential",
            ),
            (
                "routes:\n  - host: a.example\n    auth: {scheme: query, token_env: A}",
                "3:20 scheme `query` needs the key `parameter`",
            ),
            (
                "routes:\n  - host: a.example\n    auth: {scheme: query, parameter: 'a b', token_env: A}",
                "3:38 `a b` has more than one spelling in a query",
            ),
            (
                "routes:\n  - host: a.example\n    auth: {scheme: Bearer, parameter: a, token_env: A}",
                "3:28 `parameter` goes with scheme `query` only",
            ),
            ("routes:\n  - host: a.example\n  - host: A.example.", "3:5 a second route for the host of line 2"),
            (
                "routes:\n  - host: a.example\n    path_allowlist: [/a/]\n    matches: [{methods: [GET]}]",
                "4:5 `matches` beside `path_allowlist`",
            ),
            ("routes:\n  - host: a.example\n    path_allowlist: []", "3:21 an empty list grants nothing"),
            (
                "routes:\n  - host: a.example\n    path_allowlist: [a]",
                "3:22 `a` can match no request: no leading slash",
            ),
            ("routes:\n  - host: a.example\n    ports: [0]", "3:13 `0` is no port"),
            (
                "routes:\n  - host: a.example\n    matches: [{paths: [{type: regex, value: '('}]}]",
                "3:45 not a regular expression: unclosed group",
            ),
            (
                "routes:\n  - host: a.example\n    auth: {scheme: token, token_env: A}\n    keep: [authorization]",
                "4:5 `keep` on a route with `auth`",
            ),
            ("routes:\n  - host: a.example\n    inspect: maybe", "3:14 unknown value `maybe`"),
            ("routes: [\n", "2:1 not valid YAML: while parsing a node, did not find expected node content"),
        ] {
            let found = errors(text);
            assert!(found.contains(&expected.to_owned()), "{text}\nexpected {expected}\nfound {found:#?}");
        }
    }

    #[test]
    fn expressions_know_words_cases_and_general_categories() {
        let text = r"routes: [{host: a.example, matches: [{paths: [{type: regex, value: '(?i)/\w+/\d/\s*\p{L}[[:alpha:]]'}]}]}]";
        assert_eq!(errors(text), Vec::<String>::new());
    }

    #[test]
    fn all_errors_of_a_file_come_at_once() {
        let found = errors("routes:\n  - host: a_b..c\n    port: [1]\n  - host: a.example\n    scan: never\n");
        assert_eq!(found.len(), 3, "{found:#?}");
    }

    #[test]
    fn the_documented_table_is_one() {
        let page = include_str!("../../../docs/egress-proxy.md");
        let table = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let mut log = Diagnostics::default();
        let routes = decode(table, Dialect::Proxy, &mut log);
        assert_eq!(routes.map(|routes| routes.iter().len()), Some(6), "{}", log.report("docs/egress-proxy.md", table));
    }

    #[test]
    fn false_is_off() {
        let mut log = Diagnostics::default();
        let text = "routes: [{host: a.example, inspect: false, scan: off}]";
        let routes = decode(text, Dialect::Proxy, &mut log).unwrap();
        let route = routes.iter().next().unwrap();
        assert_eq!((route.inspect, route.scan), (Some(InspectMode::Off), Some(ScanMode::Off)));
    }
}

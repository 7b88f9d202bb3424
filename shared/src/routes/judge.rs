//! The pure judge: a table and a request in, a grant or a reasoned refusal out. The proxy enforces with it and
//! `bottle check` explains with it, so both say the same. Never does IO and never looks at the clock.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, HeaderName, header};
use thiserror::Error;

use super::{
    FieldRule, FieldValueRule, Match, PathRule, PathRules, Ports, Route, Routes,
    path::{AmbiguousPath, check_unambiguous, is_git_push},
    query,
};
use crate::authority::{Authority, Host};

/// What is judged: one request as its client wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'s> {
    pub scheme: Scheme,
    pub authority: &'s Authority,
    pub method: &'s str,
    /// Path and query as sent, or `*`.
    pub target: &'s str,
    pub fields: &'s HeaderMap,
}

impl<'s> Subject<'s> {
    pub fn path(&self) -> &'s str {
        let end = self.target.bytes().position(|byte| byte == b'?').unwrap_or(self.target.len());
        &self.target[..end]
    }
}

/// The scheme of a request's target.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The request is allowed, by this rule of this route.
#[derive(Clone, Debug)]
pub struct Grant<'t> {
    pub route: &'t Arc<Route>,
    pub rule: Rule,
}

/// The clause that decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// The route has no path rules.
    Any,
    Match(usize),
    PathAllowlist(usize),
}

impl Rule {
    /// As it is shown; the commonest are not put together, for every record shows one.
    pub fn text(self) -> Cow<'static, str> {
        let known = match self {
            Self::Any => Some("any"),
            Self::Match(index) => FIRST_MATCHES.get(index).copied(),
            Self::PathAllowlist(index) => FIRST_PREFIXES.get(index).copied(),
        };
        known.map_or_else(|| Cow::Owned(self.to_string()), Cow::Borrowed)
    }
}

const FIRST_MATCHES: [&str; 4] = ["matches[0]", "matches[1]", "matches[2]", "matches[3]"];
const FIRST_PREFIXES: [&str; 4] = ["path_allowlist[0]", "path_allowlist[1]", "path_allowlist[2]", "path_allowlist[3]"];

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Match(index) => write!(f, "matches[{index}]"),
            Self::PathAllowlist(index) => write!(f, "path_allowlist[{index}]"),
        }
    }
}

/// Why a request is refused by the table.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    #[error("the path is ambiguous ({what}), and route `{route}` has path rules")]
    AmbiguousPath { route: String, what: AmbiguousPath },
    #[error("some servers would read a parameter of the query as `{parameter}`, which route `{route}` injects")]
    AmbiguousParameter { route: String, parameter: String },
    #[error("route `{route}` injects a credential, which leaves over verified TLS only; use `https://`")]
    CleartextCredential { route: String },
    #[error("git push over HTTPS is refused on every route; push through the bottle's git-gate")]
    GitPush,
    #[error("no route names the host `{host}`")]
    HostUnlisted { host: Host },
    #[error("the method `{method}` is not registered, and no rule of route `{route}` lists it")]
    MethodUnregistered { route: String, method: String },
    #[error("the field `{field}` could change what the origin sees, and route `{route}` has path rules")]
    Override { route: String, field: HeaderName },
    #[error("route `{route}` does not cover port {port}")]
    Port { route: String, port: u16 },
    #[error("no rule of route `{route}` covers this request")]
    RuleMissing { route: String },
}

impl Refusal {
    /// The route that refused, where one names the host.
    pub fn route(&self) -> Option<&str> {
        match self {
            Self::AmbiguousPath { route, .. }
            | Self::AmbiguousParameter { route, .. }
            | Self::CleartextCredential { route }
            | Self::MethodUnregistered { route, .. }
            | Self::Override { route, .. }
            | Self::Port { route, .. }
            | Self::RuleMissing { route } => Some(route),
            Self::GitPush | Self::HostUnlisted { .. } => None,
        }
    }

    /// A fixed word for records and metrics.
    pub fn token(&self) -> &'static str {
        match self {
            Self::AmbiguousPath { .. } => "ambiguous_path",
            Self::AmbiguousParameter { .. } => "ambiguous_parameter",
            Self::CleartextCredential { .. } => "cleartext_credential",
            Self::GitPush => "git_push",
            Self::HostUnlisted { .. } => "host_unlisted",
            Self::MethodUnregistered { .. } => "method_unregistered",
            Self::Override { .. } => "override_field",
            Self::Port { .. } => "port_unlisted",
            Self::RuleMissing { .. } => "rule_missing",
        }
    }
}

impl Routes {
    /// Decides over one request.
    ///
    /// # Errors
    /// The first reason for a refusal, in the documented order.
    pub fn judge(&self, subject: &Subject<'_>) -> Result<Grant<'_>, Refusal> {
        if is_git_push(subject.target, subject.fields.get_all(http::header::CONTENT_TYPE).iter()) {
            return Err(Refusal::GitPush);
        }
        let host = &subject.authority.host;
        let route = self.find(host).ok_or_else(|| Refusal::HostUnlisted { host: host.clone() })?;
        let port = subject.authority.port;
        if !route.ports.cover(port, subject.scheme) {
            return Err(Refusal::Port { route: route.host.to_string(), port });
        }
        let rule = route.rule_for(subject)?;
        if subject.scheme == Scheme::Http && route.auth.is_some() {
            return Err(Refusal::CleartextCredential { route: route.host.to_string() });
        }
        if let Some(parameter) = route.parameter()
            && query::is_disguised(subject.target, parameter)
        {
            let (route, parameter) = (route.host.to_string(), parameter.to_owned());
            return Err(Refusal::AmbiguousParameter { route, parameter });
        }
        Ok(Grant { route, rule })
    }
}

impl Route {
    /// The parameter of the query that the route injects, where it does.
    pub fn parameter(&self) -> Option<&str> {
        self.auth.as_ref().and_then(|auth| auth.scheme.parameter())
    }

    /// Nothing behind the content changes what the rules were asked about.
    ///
    /// # Errors
    /// A field that overrides method or path, on a route with path rules.
    pub fn check_trailers(&self, trailers: &HeaderMap) -> Result<(), Refusal> {
        match self.paths {
            PathRules::Any => Ok(()),
            PathRules::Prefixes(_) | PathRules::Matches(_) => self.check_overrides(trailers),
        }
    }

    fn rule_for(&self, subject: &Subject<'_>) -> Result<Rule, Refusal> {
        let registered = REGISTERED_METHODS.contains(&subject.method);
        let unregistered = || Refusal::MethodUnregistered {
            route: self.host.to_string(),
            method: subject.method.chars().take(40).collect(),
        };
        let matches = match &self.paths {
            PathRules::Any if registered => return Ok(Rule::Any),
            PathRules::Any => return Err(unregistered()),
            PathRules::Prefixes(prefixes) => {
                self.check_judgeable(subject)?;
                if !registered {
                    return Err(unregistered());
                }
                let covered = prefixes.iter().position(|rule| rule.covers(subject.path()));
                return covered.map(Rule::PathAllowlist).ok_or_else(|| self.uncovered());
            }
            PathRules::Matches(matches) => matches,
        };
        self.check_judgeable(subject)?;
        let covered = matches.iter().position(|rule| rule.covers(subject));
        if covered.is_none() && !registered {
            return Err(unregistered());
        }
        covered.map(Rule::Match).ok_or_else(|| self.uncovered())
    }

    fn uncovered(&self) -> Refusal {
        Refusal::RuleMissing { route: self.host.to_string() }
    }

    /// Nothing in the request lets the origin see another path or method than the rules do.
    fn check_judgeable(&self, subject: &Subject<'_>) -> Result<(), Refusal> {
        check_unambiguous(subject.path())
            .map_err(|what| Refusal::AmbiguousPath { route: self.host.to_string(), what })?;
        self.check_overrides(subject.fields)
    }

    fn check_overrides(&self, fields: &HeaderMap) -> Result<(), Refusal> {
        match fields.keys().find(|field| OVERRIDE_FIELDS.contains(field)) {
            Some(field) => Err(Refusal::Override { route: self.host.to_string(), field: field.clone() }),
            None => Ok(()),
        }
    }
}

impl Ports {
    pub fn cover(&self, port: u16, scheme: Scheme) -> bool {
        match self {
            Self::Any => true,
            Self::Default => port == scheme.default_port(),
            Self::Listed(ports) => ports.contains(&port),
        }
    }
}

impl Match {
    fn covers(&self, subject: &Subject<'_>) -> bool {
        let method = if self.methods.is_empty() {
            REGISTERED_METHODS.contains(&subject.method)
        } else {
            self.methods.iter().any(|method| method.eq_ignore_ascii_case(subject.method))
        };
        method
            && (self.paths.is_empty() || self.paths.iter().any(|rule| rule.covers(subject.path())))
            && self.headers.iter().all(|rule| rule.covers(subject.fields))
    }
}

impl PathRule {
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')),
            Self::Regex { compiled, .. } => compiled.is_match(path),
        }
    }
}

impl FieldRule {
    fn covers(&self, fields: &HeaderMap) -> bool {
        // What `Connection` names goes no further than the proxy (RFC 9110 §7.6.1): the origin would not see it.
        if is_named_by_connection(fields, &self.name) {
            return false;
        }
        let mut values = fields.get_all(&self.name).iter().peekable();
        values.peek().is_some()
            && values.all(|value| match &self.value {
                FieldValueRule::Exact(exact) => value == exact,
                FieldValueRule::Regex { compiled, .. } => value.to_str().is_ok_and(|text| compiled.is_match(text)),
            })
    }
}

fn is_named_by_connection(fields: &HeaderMap, name: &HeaderName) -> bool {
    let options = fields.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    options.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case(name.as_str()))
}

/// Fields by which some frameworks replace the method or the path of a request.
const OVERRIDE_FIELDS: [HeaderName; 8] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-forwarded-uri"),
];

/// The IANA HTTP method registry, less `CONNECT` and `PRI`, which are no requests to an origin.
const REGISTERED_METHODS: [&str; 38] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        routes::{Dialect, decode},
        yaml::Diagnostics,
    };

    const TABLE: &str = r#"
routes:
  - host: api.anthropic.com
    auth: {scheme: Bearer, token_env: T0}
  - host: api.github.com
    path_allowlist: [/repos/acme/, /user]
  - host: registry.example.com
    matches:
      - methods: [get, HEAD]
        paths: [{type: prefix, value: /v2/}, {type: regex, value: "/-/[a-z]+"}]
        headers: [{name: accept, type: exact, value: application/json}]
      - methods: [PURGE]
  - host: "*.example.net"
  - host: "*.deep.example.net"
    ports: [8443]
  - host: any.example.org
    ports: any
"#;

    fn verdict(method: &str, url: &str, fields: &[(&'static str, &'static str)]) -> String {
        let mut log = Diagnostics::default();
        let routes = decode(TABLE, Dialect::Proxy, &mut log).unwrap();
        assert!(log.is_empty(), "{}", log.report("routes.yaml", TABLE));
        let (scheme, rest) = url.split_once("://").unwrap();
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let (authority, target) = rest.split_at(rest.find('/').unwrap());
        let authority = Authority::parse(authority, scheme.default_port()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        let subject = Subject { scheme, authority: &authority, method, target, fields: &map };
        match routes.judge(&subject) {
            Ok(grant) => format!("{} {}", grant.route.host, grant.rule),
            Err(refusal) => refusal.token().to_owned(),
        }
    }

    #[test]
    fn the_table_decides() {
        let json = [("accept", "application/json")];
        for (method, url, fields, expected) in [
            ("GET", "https://api.anthropic.com/v1/../x", &[][..], "api.anthropic.com any"),
            ("GET", "http://api.anthropic.com/", &[], "cleartext_credential"),
            ("GET", "https://api.anthropic.com:8443/", &[], "port_unlisted"),
            ("FOO", "https://api.anthropic.com/", &[], "method_unregistered"),
            ("get", "https://api.anthropic.com/", &[], "method_unregistered"),
            ("GET", "https://other.example/", &[], "host_unlisted"),
            ("GET", "https://api.github.com/repos/acme/x", &[], "api.github.com path_allowlist[0]"),
            ("GET", "https://api.github.com/repos/acme", &[], "rule_missing"),
            ("GET", "https://api.github.com/repos/acme/../evil", &[], "ambiguous_path"),
            ("GET", "https://api.github.com/user", &[], "api.github.com path_allowlist[1]"),
            ("GET", "https://api.github.com/user/x?y=//", &[], "api.github.com path_allowlist[1]"),
            ("GET", "https://api.github.com/username", &[], "rule_missing"),
            ("GET", "https://api.github.com/user", &[("x-original-url", "/x")], "override_field"),
            ("GET", "https://registry.example.com/v2/x", &json, "registry.example.com matches[0]"),
            ("HEAD", "https://registry.example.com/-/ping", &json, "registry.example.com matches[0]"),
            ("GET", "https://registry.example.com/-/ping2", &json, "rule_missing"),
            ("GET", "https://registry.example.com/x/-/ping", &json, "rule_missing"),
            ("GET", "https://registry.example.com/v2/x", &[], "rule_missing"),
            (
                "GET",
                "https://registry.example.com/v2/x",
                &[("accept", "application/json"), ("accept", "*/*")],
                "rule_missing",
            ),
            (
                "GET",
                "https://registry.example.com/v2/x",
                &[("accept", "application/json"), ("connection", "close, Accept")],
                "rule_missing",
            ),
            ("POST", "https://registry.example.com/v2/x", &json, "rule_missing"),
            ("PURGE", "https://registry.example.com/v2/x", &[], "registry.example.com matches[1]"),
            ("GET", "https://a.example.net/", &[], "*.example.net any"),
            ("GET", "https://a.deep.example.net:8443/", &[], "*.deep.example.net any"),
            ("GET", "https://a.deep.example.net/", &[], "port_unlisted"),
            ("GET", "https://deep.example.net/", &[], "*.example.net any"),
            ("GET", "https://example.net/", &[], "host_unlisted"),
            ("GET", "http://any.example.org:1234/", &[], "any.example.org any"),
            ("POST", "https://a.example.net/x.git/git-receive-pack", &[], "git_push"),
        ] {
            assert_eq!(verdict(method, url, fields), expected, "{method} {url} {fields:?}");
        }
    }
}

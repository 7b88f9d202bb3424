//! `bottle check`: which route and rule would decide a request, by the same judge that the proxy runs. Offline; no variable
//! is looked up.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use shared::authority::{Authority, AuthorityError};
use shared::routes::judge::Rule;
use shared::routes::{Grant, PathRules, Refusal, Route, Routes, Scheme, Subject};
use thiserror::Error;

use super::print_json;
use crate::cli::CheckArgs;
use crate::diagnostics::{Explain, Failure};
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::manifest::egress::{GrantedRoute, RouteOrigin, path_text};
use crate::plan::Supervise;
use crate::printer::Printer;
use crate::resolve::check_scan;

pub(super) fn run(args: &CheckArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let (agent, bottle) = Manifests::new(host).load(&args.agent)?;
    check_scan(&bottle, host)?;
    let granted = bottle.egress.effective_routes();
    let routes = Routes::new(granted.iter().map(|granted| granted.route.clone()).collect()).unwrap_or_default();
    let Target { scheme, authority, path } = args.url.parse::<Target>()?;
    let fields: HeaderMap = args.headers.iter().map(|Field(name, value)| (name.clone(), value.clone())).collect();
    let subject = Subject { scheme, authority: &authority, method: &args.method, target: &path, fields: &fields };
    let verdict = routes.judge(&subject);
    let decided_by = match &verdict {
        Ok(grant) => Some(grant.route.host.to_string()),
        Err(refusal) => refusal.route().map(str::to_owned),
    };
    let decided_by = decided_by.and_then(|host| granted.iter().find(|granted| granted.route.host.to_string() == host));
    let place = match (decided_by, &verdict) {
        (Some(granted), _) => Some(place(granted)),
        (None, Err(Refusal::HostUnlisted { .. })) => {
            let asks = if bottle.supervise == Some(Supervise::On) { ASKS } else { "" };
            bottle.sources.first().map(|source| format!("add one to {}{asks}", source.shown))
        }
        (None, _) => None,
    };
    if args.json {
        print_json(&as_json(&verdict, decided_by, place.as_deref()), printer);
    } else {
        let request = format!("{} {}", args.method, args.url);
        printer.data(&as_text(&verdict, &request, agent.name.as_str(), place.as_deref()));
    }
    Ok(if verdict.is_ok() { Exit::Success } else { Exit::Refused })
}

fn as_text(verdict: &Result<Grant<'_>, Refusal>, request: &str, agent: &str, place: Option<&str>) -> String {
    let place = place.map(|place| format!("  {place}\n")).unwrap_or_default();
    match verdict {
        Ok(Grant { route, rule }) => {
            let auth = match &route.auth {
                Some(auth) => format!(", with the credential `{}` ({})", auth.source.name(), auth.scheme.name()),
                None => String::new(),
            };
            let rule = match rule_text(route, *rule) {
                Some(rule) => format!(", rule {rule}"),
                None => ", which has no path rules".to_owned(),
            };
            format!("allowed for {agent}: {request}\n  by route `{}`{rule}{auth}\n{place}", route.host)
        }
        Err(refusal) => format!("refused for {agent}: {request}\n  {refusal}\n{place}"),
    }
}

fn as_json(
    verdict: &Result<Grant<'_>, Refusal>,
    decided_by: Option<&GrantedRoute>,
    place: Option<&str>,
) -> serde_json::Value {
    let route = decided_by.map(|granted| granted.route.host.to_string());
    match verdict {
        Ok(grant) => json!({
            "allowed": true,
            "route": route,
            "rule": grant.rule.to_string(),
            "auth": grant.route.auth.as_ref().map(|auth| auth.scheme.name()),
            "place": place,
        }),
        Err(refusal) => json!({
            "allowed": false,
            "route": route,
            "reason": refusal.token(),
            "explanation": refusal.to_string(),
            "place": place,
        }),
    }
}

/// The rule as the manifest writes it.
fn rule_text(route: &Route, rule: Rule) -> Option<String> {
    match (rule, &route.paths) {
        (Rule::PathAllowlist(index), PathRules::Prefixes(rules)) => {
            Some(rules.get(index).map_or_else(|| rule.to_string(), |prefix| format!("{rule} `{}`", path_text(prefix))))
        }
        (Rule::Any, _) => None,
        (Rule::Match(_) | Rule::PathAllowlist(_), _) => Some(rule.to_string()),
    }
}

fn place(granted: &GrantedRoute) -> String {
    match &granted.origin {
        RouteOrigin::Default => "a default route; `defaults: off` under `egress_proxy` removes it".to_owned(),
        RouteOrigin::File { entry, .. } => entry.place(),
    }
}

/// A URL, taken apart and not rewritten: the judge must see the path as it would be sent.
struct Target {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

impl FromStr for Target {
    type Err = CheckError;

    fn from_str(url: &str) -> Result<Self, CheckError> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            _ => return Err(CheckError::Scheme(url.to_owned())),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority = Authority::parse(authority, scheme.default_port())?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, authority, path })
    }
}

/// `NAME: VALUE` of `--header`.
#[derive(Debug, Clone)]
pub(crate) struct Field(HeaderName, HeaderValue);

impl FromStr for Field {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        let bad = || CheckError::Field(text.to_owned());
        let (name, value) = text.split_once(':').ok_or_else(bad)?;
        Ok(Self(name.trim().parse().map_err(|_| bad())?, value.trim().parse().map_err(|_| bad())?))
    }
}

#[derive(Debug, Error)]
pub(crate) enum CheckError {
    #[error("the URL has no usable host")]
    Authority(#[from] AuthorityError),
    #[error("`{0}` is no field: write `NAME: VALUE`")]
    Field(String),
    #[error("`{0}` is no absolute URL")]
    Scheme(String),
}

impl Explain for CheckError {
    fn hints(&self) -> Vec<String> {
        vec!["write it as the agent would: `https://HOST/PATH`".to_owned()]
    }
}

/// The other way to a route, in a bottle with `supervise`.
const ASKS: &str = ", or approve it in `bottle dashboard` when the agent asks";

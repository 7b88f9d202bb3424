//! The `egress_proxy` key: routes in the manifest's dialect, the default routes, private ranges, a company's CA and rules of
//! its own for the scan.

use std::sync::Arc;

use ipnet::IpNet;
use shared::routes::{CredentialSource, Dialect, PathRule, Route, decode_entry};
use shared::yaml::{Diagnostics, Located, Node, suggestion};

use super::source::{Placed, Source};
use crate::name::Variable;

/// What one file says; `None` where it says nothing, so that a child can leave it to its parent.
#[derive(Debug, Clone, Default)]
pub struct EgressGrant {
    pub routes: Vec<GrantedRoute>,
    pub defaults: Option<Defaults>,
    pub telemetry: Option<Telemetry>,
    pub allow_cidr: Vec<IpNet>,
    pub upstream_ca: Option<Placed<String>>,
    pub scan_rules: Option<Placed<String>>,
}

/// A route and where it was granted.
#[derive(Debug, Clone)]
pub struct GrantedRoute {
    pub route: Route,
    pub origin: RouteOrigin,
}

#[derive(Debug, Clone)]
pub enum RouteOrigin {
    /// Folded in, because no manifest names the host.
    Default,
    /// The place of the entry, and of what it names that is known elsewhere.
    File {
        entry: Placed<()>,
        token_ref: Option<Placed<Variable>>,
        placeholder: Option<Placed<Variable>>,
        scan_except: Vec<Placed<String>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaults {
    Off,
    On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telemetry {
    Off,
    On,
}

impl EgressGrant {
    pub fn decode(node: &Node<'_, '_>, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Self> {
        let mut map = node.map(log)?;
        let routes = map.take("routes").map_or(Some(vec![]), |node| routes(&node, source, log));
        let defaults = map.take("defaults").and_then(|node| defaults(&node, log));
        let telemetry = map.take("telemetry").and_then(|node| node.boolean(log));
        let allow_cidr = map.take("allow_cidr").map_or(Some(vec![]), |node| ranges(&node, log));
        let mut file = |key, log: &mut Diagnostics| {
            let node = map.take(key)?;
            Some(Placed { at: node.locate(node.text(log)?.to_owned()), source: source.clone() })
        };
        let upstream_ca = file("upstream_ca", log);
        let scan_rules = file("scan_rules", log);
        map.finish(log);
        Some(Self {
            routes: routes?,
            defaults,
            telemetry: telemetry.map(|on| if on { Telemetry::On } else { Telemetry::Off }),
            allow_cidr: allow_cidr?,
            upstream_ca,
            scan_rules,
        })
    }

    /// What is not said here is the parent's; a host that is named here is not the parent's.
    pub fn inherit(&mut self, parent: Self) {
        let own: Vec<_> = self.routes.iter().map(|granted| granted.route.host.clone()).collect();
        let inherited = parent.routes.into_iter().filter(|granted| !own.contains(&granted.route.host));
        self.routes = inherited.chain(std::mem::take(&mut self.routes)).collect();
        self.defaults = self.defaults.or(parent.defaults);
        self.telemetry = self.telemetry.or(parent.telemetry);
        self.allow_cidr.extend(parent.allow_cidr);
        self.allow_cidr = IpNet::aggregate(&self.allow_cidr);
        self.upstream_ca = self.upstream_ca.take().or(parent.upstream_ca);
        self.scan_rules = self.scan_rules.take().or(parent.scan_rules);
    }

    /// The routes of the files, then the default ones whose host no file names.
    pub fn effective_routes(&self) -> Vec<GrantedRoute> {
        let mut routes = self.routes.clone();
        if self.defaults == Some(Defaults::Off) {
            return routes;
        }
        let telemetry: &[&str] = if self.telemetry == Some(Telemetry::On) { &TELEMETRY_HOSTS } else { &[] };
        for host in DEFAULT_HOSTS.iter().chain(telemetry).filter_map(|host| host.parse().ok()) {
            if !routes.iter().any(|granted| granted.route.host == host) {
                routes.push(GrantedRoute { route: Route::bare(host), origin: RouteOrigin::Default });
            }
        }
        routes
    }
}

fn routes(node: &Node<'_, '_>, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Vec<GrantedRoute>> {
    let mut routes: Vec<GrantedRoute> = vec![];
    for item in node.list(log)? {
        let Some(route) = decode_entry(&item, Dialect::Manifest, log) else { continue };
        if let Some(first) = routes.iter().find(|known| known.route.host == route.host) {
            let error = item.error(format!("a second route for the host of line {}", first.route.line));
            log.push(error.with_hint("join both into one; `matches` and `path_allowlist` take several rules"));
        }
        let origin = RouteOrigin::File {
            entry: Placed { at: Located { length: 1, ..item.locate(()) }, source: source.clone() },
            token_ref: auth_variable(&item, &route, "token_ref", source),
            placeholder: auth_variable(&item, &route, "placeholder", source),
            scan_except: exemptions(&item, source).unwrap_or_default(),
        };
        routes.push(GrantedRoute { route, origin });
    }
    Some(routes)
}

/// The place of a variable's name under `auth`, which the route itself does not carry.
fn auth_variable(
    item: &Node<'_, '_>,
    route: &Route,
    key: &'static str,
    source: &Arc<Source>,
) -> Option<Placed<Variable>> {
    route.auth.as_ref()?;
    let known_good = &mut Diagnostics::default(); // `decode_entry` reported what there was to report
    let mut auth = item.map(known_good)?.take("auth")?.map(known_good)?;
    let node = auth.take(key)?;
    let variable = node.as_text()?.parse().ok()?;
    Some(Placed { at: node.locate(variable), source: source.clone() })
}

/// The places of the rules under `scan_except`.
fn exemptions(item: &Node<'_, '_>, source: &Arc<Source>) -> Option<Vec<Placed<String>>> {
    let known_good = &mut Diagnostics::default(); // `decode_entry` reported what there was to report
    let ids = item.map(known_good)?.take("scan_except")?.texts(known_good)?;
    Some(ids.into_iter().map(|at| Placed { at, source: source.clone() }).collect())
}

fn defaults(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Defaults> {
    match (node.as_boolean(), node.as_text()) {
        (Some(false), _) | (_, Some("off")) => Some(Defaults::Off),
        (Some(true), _) | (_, Some("on")) => Some(Defaults::On),
        (_, Some(word)) => {
            log.push(node.error(format!("unknown value `{word}`")).with_hint(suggestion(word, &["on", "off"])));
            None
        }
        _ => {
            log.push(node.error(format!("expected `on` or `off`, found {}", node.kind())));
            None
        }
    }
}

fn ranges(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Vec<IpNet>> {
    let mut ranges = vec![];
    for item in node.texts(log)? {
        match item.value.parse::<IpNet>() {
            Ok(range) => ranges.push(range.trunc()),
            Err(_) => {
                let error = item.error(format!("`{}` is no range of addresses", item.value));
                log.push(error.with_hint("write it as `10.20.0.0/16`; one address as `10.20.1.2/32`"));
            }
        }
    }
    Some(ranges)
}

/// The host variable that a manifest's route takes its credential from.
pub fn host_variable(route: &Route) -> Option<&str> {
    match &route.auth.as_ref()?.source {
        CredentialSource::HostVariable(name) => Some(name),
        CredentialSource::Env(_) | CredentialSource::File(_) => None,
    }
}

/// A path rule as a human reads it: a prefix as it stands, anything else with its kind.
pub fn path_text(rule: &PathRule) -> String {
    match rule {
        PathRule::Exact(path) => format!("={path}"),
        PathRule::Prefix(path) => path.clone(),
        PathRule::Regex { source, .. } => format!("~{source}"),
    }
}

/// What Claude Code needs to log in, to update and to read release notes.
const DEFAULT_HOSTS: [&str; 5] =
    ["api.anthropic.com", "claude.ai", "platform.claude.com", "downloads.claude.ai", "raw.githubusercontent.com"];

/// Only on request: anyone can own a project there, so they are a way out.
const TELEMETRY_HOSTS: [&str; 2] = ["statsig.anthropic.com", "sentry.io"];

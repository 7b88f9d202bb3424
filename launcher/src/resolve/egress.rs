//! Routes of the manifest → the table that the proxy reads: host variables become slots, and the agent gets stand-ins.

use scan_rules::{Author, Problem, RulesFile, shipped_ids};
use shared::contract::{placeholder_slot, token_slot};
use shared::routes::{Auth, AuthScheme, CredentialSource, InspectMode, Route, Routes};
use shared::yaml::{Diagnostic, nearest};

use super::missing_variable;
use crate::host::Host;
use crate::manifest::bottle::Bottle;
use crate::manifest::egress::{GrantedRoute, RouteOrigin, Telemetry};
use crate::manifest::source::{Placed, Problems, Source};
use crate::name::Variable;
use crate::plan::{AgentEnv, Egress, PlaceholderSlot, ScanRules, TokenSlot};
use crate::secret::Secret;
use crate::spec::Dlp;

pub(super) fn resolve(bottle: &Bottle, host: &Host, problems: &mut Problems) -> Egress {
    let mut slots = Slots { bottle, host, tokens: vec![], placeholders: vec![], missing: vec![] };
    let granted = bottle.egress.effective_routes();
    let routes: Vec<Route> = granted.into_iter().map(|granted| slots.route(granted, problems)).collect();
    let Slots { tokens, placeholders, .. } = slots;
    Egress {
        routes: Routes::new(routes).unwrap_or_default(), // hosts are unique: checked within a file, joined across files
        tokens,
        placeholders,
        allow_cidr: bottle.egress.allow_cidr.clone(),
        upstream_ca: upstream_ca(bottle.egress.upstream_ca.as_ref(), host, problems),
        scan_rules: scan_rules_in_force(bottle, host, problems),
    }
}

/// A route that insists on inspection needs pipelock; without it the proxy would not start.
pub(super) fn check_inspection(bottle: &Bottle, dlp: Dlp, problems: &mut Problems) {
    for granted in bottle.egress.routes.iter().filter(|_| !dlp.asks_pipelock()) {
        if let (RouteOrigin::File { entry, .. }, Some(InspectMode::Request | InspectMode::Exchange)) =
            (&granted.origin, granted.route.inspect)
        {
            let host = &granted.route.host;
            let error = entry.at.error(format!("`{host}` is to be inspected, and `dlp: {dlp}` is without pipelock"));
            problems.push(&entry.source, error.with_hint("take its `inspect` out, or start with `--dlp both`"));
        }
    }
}

/// What was given out so far.
struct Slots<'a> {
    bottle: &'a Bottle,
    host: &'a Host,
    tokens: Vec<TokenSlot>,
    placeholders: Vec<PlaceholderSlot>,
    /// Reported already; one report for each variable.
    missing: Vec<Variable>,
}

impl Slots<'_> {
    fn route(&mut self, granted: GrantedRoute, problems: &mut Problems) -> Route {
        let GrantedRoute { mut route, origin } = granted;
        let RouteOrigin::File { token_ref: Some(token_ref), placeholder, .. } = origin else { return route };
        if let Some(auth) = &mut route.auth {
            let stand_in = self.placeholder(placeholder.as_ref(), auth, &route.host.to_string(), problems);
            auth.placeholder = stand_in;
            auth.source = CredentialSource::Env(self.token(&token_ref, problems));
        }
        route
    }

    /// The slot of a host variable; one for each distinct variable.
    fn token(&mut self, wanted: &Placed<Variable>, problems: &mut Problems) -> String {
        let name = wanted.value();
        if let Some(known) = self.tokens.iter().find(|known| known.source == *name) {
            return known.slot.clone();
        }
        let slot = token_slot(self.tokens.len());
        let value = self.host.variable(name.as_str()).unwrap_or_default();
        match usable(value) {
            Ok(()) => {
                let value = Secret::new(value.to_owned());
                self.tokens.push(TokenSlot { slot: slot.clone(), source: name.clone(), value });
            }
            Err(_) if self.missing.contains(name) => {}
            Err(fault) => {
                self.missing.push(name.clone());
                problems.push(&wanted.source, fault.diagnostic(wanted, self.host));
            }
        }
        slot
    }

    /// The slot of the agent's stand-in, where the route has one.
    fn placeholder(
        &mut self,
        given: Option<&Placed<Variable>>,
        auth: &Auth,
        host: &str,
        problems: &mut Problems,
    ) -> Option<String> {
        let variable = match given {
            Some(variable) => variable.value().clone(),
            None => implied_placeholder(host, auth)?,
        };
        if let Some(known) = self.placeholders.iter().find(|known| known.variable == variable) {
            return Some(known.slot.clone());
        }
        if self.bottle.env.iter().any(|assignment| *assignment.variable.value() == variable) {
            let given = given?; // an implied one gives way to the manifest's own entry
            let error = given.at.error(format!("`{variable}` is in `env` too"));
            problems.push(&given.source, error.with_hint("remove the `env` entry: the stand-in takes its place"));
            return None;
        }
        let index = self.placeholders.len();
        let slot = placeholder_slot(index);
        // Nobody guesses it, so wherever it shows up it was read out of this bottle.
        let value = format!("bottle-placeholder-{:032x}", rand::random::<u128>());
        self.placeholders.push(PlaceholderSlot { slot: slot.clone(), variable, value });
        Some(slot)
    }
}

/// Why a variable's value is no credential.
enum Fault {
    Control,
    Missing,
    Short,
}

impl Fault {
    fn diagnostic(&self, wanted: &Placed<Variable>, host: &Host) -> Diagnostic {
        let name = wanted.value();
        match self {
            Self::Control => wanted
                .at
                .error(format!("the host's `{name}` holds a line break or another control character"))
                .with_hint("set it to the bare token"),
            Self::Missing => missing_variable(wanted.at.error(format!("the host's `{name}` is not set")), name, host),
            Self::Short => wanted
                .at
                .error(format!("the host's `{name}` is shorter than {SHORTEST_CREDENTIAL} bytes"))
                .with_hint("a credential that short would be found everywhere; set it to the whole token"),
        }
    }
}

fn usable(value: &str) -> Result<(), Fault> {
    match value {
        "" => Err(Fault::Missing),
        _ if value.chars().any(char::is_control) => Err(Fault::Control),
        _ if value.len() < SHORTEST_CREDENTIAL => Err(Fault::Short),
        _ => Ok(()),
    }
}

fn upstream_ca(given: Option<&Placed<String>>, host: &Host, problems: &mut Problems) -> Option<String> {
    let given = given?;
    let Some(path) = host.expand(given.value()) else {
        problems.push(&given.source, given.at.error("a certificate file is absolute or begins with `~/`"));
        return None;
    };
    match std::fs::read_to_string(&path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Some(pem),
        Ok(_) => {
            let error = given.at.error(format!("`{}` holds no certificate", host.shorten(&path)));
            problems.push(&given.source, error.with_hint("it must be PEM, with a line `-----BEGIN CERTIFICATE-----`"));
            None
        }
        Err(error) => {
            let error = given.at.error(format!("`{}` cannot be read: {error}", host.shorten(&path)));
            problems.push(&given.source, error);
            None
        }
    }
}

/// A user's own rules, checked with the exemptions from them.
pub(super) fn scan_rules_in_force(bottle: &Bottle, host: &Host, problems: &mut Problems) -> Option<ScanRules> {
    let rules = scan_rules(bottle.egress.scan_rules.as_ref(), host, problems);
    check_exemptions(bottle, rules.as_ref(), problems);
    rules.map(|(rules, _)| rules)
}

/// Rules that the proxy would refuse are refused here, at their lines.
fn scan_rules(given: Option<&Placed<String>>, host: &Host, problems: &mut Problems) -> Option<(ScanRules, RulesFile)> {
    let given = given?;
    let Some(path) = host.expand(given.value()) else {
        problems.push(&given.source, given.at.error("a rules file is absolute or begins with `~/`"));
        return None;
    };
    let shown = host.shorten(&path);
    match std::fs::read_to_string(&path) {
        Ok(text) => match RulesFile::parse(&shown, &text, "user", Author::User) {
            Ok(file) => Some((ScanRules { shown, text, extends: file.extends }, file)),
            Err(error) => {
                let file = Source::named(&path, shown, text);
                for Problem { line, column, message, .. } in error.problems() {
                    let (line, column, message) = (*line, *column, message.clone());
                    problems.push(&file, Diagnostic { line, column, length: 1, message, hint: None });
                }
                None
            }
        },
        Err(error) => {
            problems.push(&given.source, given.at.error(format!("`{shown}` cannot be read: {error}")));
            None
        }
    }
}

/// The proxy does not start with an exemption that names no rule.
fn check_exemptions(bottle: &Bottle, own: Option<&(ScanRules, RulesFile)>, problems: &mut Problems) {
    let own = own.map(|(_, file)| file);
    if own.is_none() && bottle.egress.scan_rules.is_some() {
        return; // which rules there are is not known
    }
    let stays = |id: &&str| own.is_none_or(|own| own.extends && !own.disabled.iter().any(|off| off == id));
    let mut rules: Vec<&str> = own.map_or_else(Vec::new, |own| own.rules.iter().map(|rule| rule.id.as_ref()).collect());
    shipped_ids().filter(stays).for_each(|id| rules.push(id));
    for granted in &bottle.egress.routes {
        let RouteOrigin::File { scan_except, .. } = &granted.origin else { continue };
        for id in scan_except.iter().filter(|id| !rules.contains(&id.value().as_str())) {
            let hint = match nearest(id.value(), &rules) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`egress-proxy scan --rules` lists them".to_owned(),
            };
            let error = id.at.error(format!("there is no scan rule `{}`", id.value()));
            problems.push(&id.source, error.with_hint(hint));
        }
    }
}

/// Claude Code asks for a login when it holds no credential, so a route that brings one implies the stand-in.
fn implied_placeholder(host: &str, auth: &Auth) -> Option<Variable> {
    if host != "api.anthropic.com" {
        return None;
    }
    match &auth.scheme {
        AuthScheme::Bearer => "CLAUDE_CODE_OAUTH_TOKEN".parse().ok(),
        AuthScheme::Header(name) if name.as_str() == "x-api-key" => "ANTHROPIC_API_KEY".parse().ok(),
        AuthScheme::Basic { .. } | AuthScheme::Header(_) | AuthScheme::Query { .. } | AuthScheme::Token => None,
    }
}

/// Claude Code without what it sends beside its work, unless the manifest wants telemetry or sets the variable itself.
pub(super) fn claude_defaults(bottle: &Bottle, env: &AgentEnv) -> Vec<(Variable, String)> {
    if bottle.egress.telemetry == Some(Telemetry::On) {
        return vec![];
    }
    let variables = QUIET.iter().filter_map(|name| name.parse::<Variable>().ok());
    let unset = variables.filter(|variable| !env.named.contains(variable));
    unset.map(|variable| (variable, "1".to_owned())).collect()
}

const QUIET: [&str; 4] =
    ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING", "DISABLE_TELEMETRY"];

/// As the proxy demands it.
const SHORTEST_CREDENTIAL: usize = 8;

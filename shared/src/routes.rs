//! The route table: what a bottle may reach, under which rules and with which credential.
//!
//! [`Routes`] exists only validated: unique hosts, whole credentials, rules that compile. Never holds a credential's
//! value, only the name of the place where it is.

pub mod decode;
pub mod judge;
pub mod path;
pub mod query;
pub mod render;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use foldhash::fast::RandomState;
use http::{HeaderName, HeaderValue};
use regex::Regex;

pub use self::{
    decode::{Dialect, ENTRY_KEYS, decode, decode_entry},
    judge::{Grant, Refusal, Scheme, Subject},
};
use crate::authority::{Host, HostPattern};

/// A validated table. Hosts are unique; look-up needs no allocation.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    entries: Vec<Arc<Route>>,
    exact: HashMap<Host, usize, RandomState>,
    /// By the suffix after `*.`.
    wildcards: HashMap<Arc<str>, usize, RandomState>,
}

impl Routes {
    /// # Errors
    /// The index of the first route whose host an earlier one names already.
    pub fn new(entries: Vec<Route>) -> Result<Self, RepeatedHost> {
        let mut routes = Self::default();
        for (index, route) in entries.into_iter().enumerate() {
            let repeated = match &route.host {
                HostPattern::Exact(host) => routes.exact.insert(host.clone(), index),
                HostPattern::Wildcard(suffix) => routes.wildcards.insert(suffix.clone(), index),
            };
            if let Some(first) = repeated {
                return Err(RepeatedHost { first, second: index });
            }
            routes.entries.push(Arc::new(route));
        }
        Ok(routes)
    }

    /// The most specific route for a host: exact before wildcard, longer wildcard before shorter.
    pub fn find(&self, host: &Host) -> Option<&Arc<Route>> {
        if let Some(&index) = self.exact.get(host) {
            return self.entries.get(index);
        }
        let Host::Name(name) = host else { return None };
        if self.wildcards.is_empty() {
            return None;
        }
        let mut rest: &str = name;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(&index) = self.wildcards.get(suffix) {
                return self.entries.get(index);
            }
            rest = suffix;
        }
        None
    }

    /// The entry at a place of [`Routes::iter`], which must be one.
    pub fn at(&self, index: usize) -> &Arc<Route> {
        &self.entries[index]
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.entries.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every field that a route injects; stripped from what the agent sends on every route.
    pub fn injected_fields(&self) -> impl Iterator<Item = HeaderName> + '_ {
        self.entries.iter().filter_map(|route| route.auth.as_ref()).filter_map(|auth| auth.scheme.field())
    }
}

/// Two routes name one host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RepeatedHost {
    pub first: usize,
    pub second: usize,
}

/// One entry of the table.
#[derive(Clone, Debug)]
pub struct Route {
    pub host: HostPattern,
    pub ports: Ports,
    pub paths: PathRules,
    pub auth: Option<Auth>,
    /// Credential fields of the agent's own that pass; empty on a route with auth.
    pub keep: Vec<HeaderName>,
    /// `None`: the proxy's own setting.
    pub inspect: Option<InspectMode>,
    /// `None`: the proxy's own setting.
    pub scan: Option<ScanMode>,
    pub scan_except: Vec<String>,
    /// The line of the file in which the entry starts, for explanations; 0 where it came from no file.
    pub line: usize,
}

impl Route {
    /// A route that grants a whole host without a credential.
    pub fn bare(host: HostPattern) -> Self {
        Self {
            host,
            ports: Ports::Default,
            paths: PathRules::Any,
            auth: None,
            keep: Vec::new(),
            inspect: None,
            scan: None,
            scan_except: Vec::new(),
            line: 0,
        }
    }
}

/// Which ports a route covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ports {
    Any,
    /// 443, and 80 for `http://`.
    Default,
    Listed(Vec<u16>),
}

/// What of a host's paths, methods and fields is granted.
#[derive(Clone, Debug)]
pub enum PathRules {
    Any,
    /// `path_allowlist`: prefixes.
    Prefixes(Vec<PathRule>),
    Matches(Vec<Match>),
}

/// One entry of `matches`: all of its lists must agree, any item of a list will do (fields: every one).
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Upper case; empty: any registered method.
    pub methods: Vec<String>,
    pub paths: Vec<PathRule>,
    pub headers: Vec<FieldRule>,
}

/// A rule over the path as it was sent.
#[derive(Clone, Debug)]
pub enum PathRule {
    Exact(String),
    /// By segment: `/user` covers `/user` and `/user/x`, never `/username`; a trailing slash means "below".
    Prefix(String),
    /// Anchored on both ends.
    Regex {
        source: String,
        compiled: Regex,
    },
}

/// A rule over one field; every value of a repeated field must satisfy it.
#[derive(Clone, Debug)]
pub struct FieldRule {
    pub name: HeaderName,
    pub value: FieldValueRule,
}

/// What a field's value must be.
#[derive(Clone, Debug)]
pub enum FieldValueRule {
    Exact(HeaderValue),
    /// Anchored on both ends.
    Regex {
        source: String,
        compiled: Regex,
    },
}

/// The credential of a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Auth {
    pub scheme: AuthScheme,
    pub source: CredentialSource,
    /// The name of the variable or secret that holds the stand-in which the agent believes to be the credential.
    pub placeholder: Option<String>,
}

/// How a credential is written into the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuthScheme {
    /// `Authorization: Basic …`; with a user name the token is the password, without the token is `user:password`.
    Basic { username: Option<String> },
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer,
    /// The bare value in a field of the route's choice.
    Header(HeaderName),
    /// `parameter=…` in the query, for APIs that take nothing else.
    Query { parameter: String },
    /// `Authorization: token …`.
    Token,
}

impl AuthScheme {
    /// The field that carries the credential, where one does.
    pub fn field(&self) -> Option<HeaderName> {
        match self {
            Self::Basic { .. } | Self::Bearer | Self::Token => Some(http::header::AUTHORIZATION),
            Self::Header(name) => Some(name.clone()),
            Self::Query { .. } => None,
        }
    }

    /// The parameter of the query that carries the credential, where one does.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Query { parameter } => Some(parameter),
            Self::Basic { .. } | Self::Bearer | Self::Header(_) | Self::Token => None,
        }
    }

    /// The scheme's name as route tables write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "Basic",
            Self::Bearer => "Bearer",
            Self::Header(_) => "header",
            Self::Query { .. } => "query",
            Self::Token => "token",
        }
    }
}

/// Where a credential's value is found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialSource {
    /// `token_env`: a variable of the proxy's environment, or a name among the secrets given on stdin.
    Env(String),
    /// `token_file`: read again when it changes.
    File(PathBuf),
    /// `token_ref`: a variable of the host's environment; manifests only, never in a table that a proxy reads.
    HostVariable(String),
}

impl CredentialSource {
    /// The name that records and errors may show.
    pub fn name(&self) -> String {
        match self {
            Self::Env(name) | Self::HostVariable(name) => name.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Whether, and how far, an exchange goes through the inspector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InspectMode {
    /// The answer's content goes back through it too.
    Exchange,
    Off,
    Request,
}

impl InspectMode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Off => "off",
            Self::Request => "request",
        }
    }
}

/// What a finding of the built-in scan does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScanMode {
    Block,
    Off,
    Record,
}

impl ScanMode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Off => "off",
            Self::Record => "record",
        }
    }
}

/// The JSON Schema of a route table, for editors.
pub const SCHEMA: &str = include_str!("routes/schema.json");

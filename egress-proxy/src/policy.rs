//! What may be done: holds the current table and turns its verdicts into permits. Permits have private fields and are
//! made only here; dialling and forwarding demand one. No permit, no packet.

mod packed;

use std::{
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::{HeaderMap, Method, uri::PathAndQuery};
use shared::{
    authority::Authority,
    routes::{Grant, InspectMode, Refusal, Route, Routes, ScanMode, Scheme, Subject},
};
use thiserror::Error;

use self::packed::Packed;
use crate::{
    credentials::{Credential, CredentialError, CredentialSent, Guard, SecretStore, StripList},
    scan::{Author, ExactValues, Exemptions, RulesError, RulesFile, Scanner, UnknownRule},
    settings::AnswerMode,
    tls::leaves::Listing,
};

/// Everything that one version of the table decides, swapped as a whole.
pub struct Table {
    generation: u64,
    pub routes: Routes,
    states: Vec<RouteState>,
    pub strip: StripList,
    guard: Option<Guard>,
    scanner: Arc<Scanner>,
    /// Looks for the proxy's own values only, where a route wants no scan; `None` where there are none.
    sentinel: Option<Arc<Scanner>>,
}

struct RouteState {
    credential: Option<Result<Arc<Credential>, CredentialError>>,
    exemptions: Exemptions,
}

/// What applies where a route says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub inspect: InspectMode,
    pub scan: ScanMode,
    pub answers: AnswerMode,
}

/// Whether a missing credential stops the table from being used, or only its route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// At start: an error that the operator sees at once.
    IsAnError,
    /// After a reload: the route's requests are refused.
    RefusesRequests,
}

/// The current table, and what makes permits from it.
pub struct Policy {
    table: ArcSwap<Table>,
    generations: AtomicU64,
    defaults: Defaults,
    /// Credentials that are no longer injected, the latest last: agents may have seen them, and they may still be valid.
    former: Mutex<Vec<Arc<Credential>>>,
}

/// So many former credentials are still guarded.
const FORMER: usize = 64;

impl Policy {
    /// # Errors
    /// As [`Policy::replace`], with missing credentials as errors.
    pub fn new(routes: Routes, store: &SecretStore, rules: &ScanRules, defaults: Defaults) -> Result<Self, TableError> {
        let table = Table::build(0, routes, store, rules, Missing::IsAnError, defaults.inspect, &[])?;
        let (table, generations) = (ArcSwap::from_pointee(table), AtomicU64::new(1));
        Ok(Self { table, generations, defaults, former: Mutex::default() })
    }

    /// Puts another table in force, whole or not at all.
    ///
    /// # Errors
    /// The table names an unknown rule of the scan; the old one stays.
    pub fn replace(&self, routes: Routes, store: &SecretStore, rules: &ScanRules) -> Result<(), TableError> {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guarded = former.clone();
        for gone in self.table.load().credentials() {
            if !guarded.iter().any(|known| known.is_same_secret(gone)) {
                guarded.push(gone.clone());
            }
        }
        let (missing, inspect) = (Missing::RefusesRequests, self.defaults.inspect);
        let table = Table::build(generation, routes, store, rules, missing, inspect, &guarded)?;
        guarded.retain(|former| !table.credentials().any(|current| current.is_same_secret(former)));
        let excess = guarded.len().saturating_sub(FORMER);
        guarded.drain(..excess);
        *former = guarded;
        self.table.store(Arc::new(table));
        Ok(())
    }

    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Whether any answer is to go through the inspector.
    pub fn inspects_answers(&self) -> bool {
        let of_route = |route: &Arc<Route>| route.inspect.unwrap_or(self.defaults.inspect);
        self.defaults.inspect == InspectMode::Exchange
            || self.table.load().routes.iter().any(|route| of_route(route) == InspectMode::Exchange)
    }

    /// Decides over a CONNECT. A host without a route gets a permit too: its client shall read the refusal inside the
    /// tunnel, and nothing is dialled for it.
    pub fn connect(&self, authority: Authority) -> ConnectPermit {
        let listing = match self.table.load().routes.find(&authority.host) {
            Some(_) => Listing::Listed,
            None => Listing::Unlisted,
        };
        ConnectPermit { authority: Arc::new(authority), listing }
    }

    /// Looks for real credentials and misplaced stand-ins anywhere in a head.
    ///
    /// # Errors
    /// What was found, and where.
    pub fn check_credentials(&self, request: &Judged, fields: &HeaderMap) -> Result<(), CredentialSent> {
        let table = self.table.load();
        let Some(guard) = &table.guard else { return Ok(()) };
        let route = table.routes.find(&request.authority.host);
        let parameter = route.and_then(|route| route.parameter());
        let index = route.and_then(|route| table.index(route));
        guard.check_head(request.target.as_str(), fields, index, parameter)
    }

    /// Looks for real credentials in the name of a host, as a client wrote it.
    ///
    /// # Errors
    /// What was found.
    pub fn check_name(&self, name: &str) -> Result<(), CredentialSent> {
        self.table.load().guard.as_ref().map_or(Ok(()), |guard| guard.check_name(name))
    }

    /// Decides over one request.
    ///
    /// # Errors
    /// The table's refusal.
    pub fn request(&self, request: &Judged, fields: &HeaderMap) -> Result<RequestPermit, Denied> {
        let table = self.table.load_full();
        let Grant { route, rule } = table.routes.judge(&request.subject(fields))?;
        let index =
            table.index(route).ok_or(Denied::Table(Refusal::HostUnlisted { host: request.authority.host.clone() }))?;
        let inspect = route.inspect.unwrap_or(self.defaults.inspect);
        let scan = route.scan.unwrap_or(self.defaults.scan);
        let (authority, answers) = (request.authority.clone(), self.defaults.answers);
        Ok(RequestPermit { table, index, rule, authority, scheme: request.scheme, inspect, scan, answers })
    }

    /// The same permit where the table is still the same; otherwise the request is judged again.
    ///
    /// # Errors
    /// The new table refuses what the old one allowed.
    pub fn renew(&self, permit: RequestPermit, request: &Judged) -> Result<RequestPermit, Denied> {
        if self.table.load().generation == permit.table.generation {
            return Ok(permit);
        }
        let fields = request.fields().ok_or(Denied::Changed)?;
        self.check_credentials(request, &fields)?;
        let renewed = self.request(request, &fields)?;
        // What was stripped, scanned and asked about the old table's way is not what the new one asks for.
        if renewed.demands() == permit.demands() { Ok(renewed) } else { Err(Denied::Changed) }
    }

    /// Whether the current table still grants what was granted to a long exchange.
    pub fn still_grants(&self, request: &Judged) -> bool {
        request.fields().is_some_and(|fields| self.table.load().routes.judge(&request.subject(&fields)).is_ok())
    }
}

impl Table {
    fn build(
        generation: u64,
        routes: Routes,
        store: &SecretStore,
        rules: &ScanRules,
        missing: Missing,
        default: InspectMode,
        former: &[Arc<Credential>],
    ) -> Result<Self, TableError> {
        let mut credentials = Vec::with_capacity(routes.iter().len());
        let mut exact = ExactValues::default();
        for route in routes.iter() {
            let credential = route.auth.as_ref().map(|auth| Credential::resolve(auth, store).map(Arc::new));
            match &credential {
                Some(Err(error)) if missing == Missing::IsAnError => {
                    let (route, line) = (route.host.to_string(), route.line);
                    return Err(TableError::Credential { route, line, source: error.clone() });
                }
                Some(Ok(credential)) => credential.guard(&mut exact),
                _ => {}
            }
            credentials.push(credential);
        }
        for credential in former {
            credential.guard(&mut exact);
        }
        let sentinel = exact.scanner().map(Arc::new);
        let scanner = rules.compile(exact)?;
        let mut states = Vec::with_capacity(credentials.len());
        for (route, credential) in routes.iter().zip(credentials) {
            let inspected = route.inspect.is_some_and(|mode| mode != InspectMode::Off);
            if inspected && default == InspectMode::Off {
                return Err(TableError::InspectorAbsent { route: route.host.to_string(), line: route.line });
            }
            let exemptions = scanner.exemptions(&route.scan_except).map_err(|source| TableError::Exemption {
                route: route.host.to_string(),
                line: route.line,
                source,
            })?;
            states.push(RouteState { credential, exemptions });
        }
        let current = states.iter().map(|state| state.credential.as_ref().and_then(|c| c.as_deref().ok()));
        let guard = Guard::new(current, former.iter().map(Arc::as_ref))?;
        let (strip, scanner) = (StripList::of(&routes), Arc::new(scanner));
        Ok(Self { generation, strip, routes, states, guard, scanner, sentinel })
    }

    /// The scan's rules, with every credential of the table among them.
    pub fn scanner(&self) -> &Arc<Scanner> {
        &self.scanner
    }

    fn credentials(&self) -> impl Iterator<Item = &Arc<Credential>> {
        self.states.iter().filter_map(|state| state.credential.as_ref()?.as_ref().ok())
    }

    fn index(&self, route: &Arc<Route>) -> Option<usize> {
        self.routes.iter().position(|candidate| Arc::ptr_eq(candidate, route))
    }

    /// Refuses trailers that carry a credential or a stand-in; stand-ins are at home in no trailer.
    ///
    /// # Errors
    /// What was found, and where.
    pub fn check_trailers(&self, fields: &HeaderMap) -> Result<(), CredentialSent> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.check_fields(fields, None))
    }
}

/// A request as its client wrote it, as far as it is judged. Kept for as long as the exchange lives: a reload judges it
/// again.
pub struct Judged {
    pub scheme: Scheme,
    pub authority: Arc<Authority>,
    pub method: Method,
    pub target: PathAndQuery,
    fields: Packed,
}

impl Judged {
    /// One whose fields, of which it keeps a copy, are judged beside it at first.
    pub fn new(
        scheme: Scheme,
        authority: Arc<Authority>,
        method: Method,
        target: PathAndQuery,
        fields: &HeaderMap,
    ) -> Self {
        Self { scheme, authority, method, target, fields: Packed::of(fields) }
    }

    /// Its fields, as they came; `None` where they cannot be read again, so that nothing is granted.
    pub fn fields(&self) -> Option<HeaderMap> {
        self.fields.unpacked()
    }

    fn subject<'s>(&'s self, fields: &'s HeaderMap) -> Subject<'s> {
        Subject {
            scheme: self.scheme,
            authority: &self.authority,
            method: self.method.as_str(),
            target: self.target.as_str(),
            fields,
        }
    }
}

/// Permission to answer a CONNECT and to intercept what follows. It permits no dialling.
#[derive(Clone, Debug)]
pub struct ConnectPermit {
    authority: Arc<Authority>,
    listing: Listing,
}

impl ConnectPermit {
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    pub fn listing(&self) -> Listing {
        self.listing
    }
}

/// Permission to send one request to one authority.
pub struct RequestPermit {
    table: Arc<Table>,
    index: usize,
    rule: shared::routes::judge::Rule,
    authority: Arc<Authority>,
    scheme: Scheme,
    inspect: InspectMode,
    /// As the route or the settings ask for it.
    scan: ScanMode,
    answers: AnswerMode,
}

impl RequestPermit {
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn route(&self) -> &Arc<Route> {
        self.table.routes.at(self.index)
    }

    pub fn rule(&self) -> shared::routes::judge::Rule {
        self.rule
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub fn inspect(&self) -> InspectMode {
        self.inspect
    }

    /// What a finding does.
    pub fn scan(&self) -> ScanMode {
        if self.sentinel().is_some() { ScanMode::Block } else { self.scan }
    }

    /// What searches for the proxy's own values, where the route wants no scan and there are any.
    fn sentinel(&self) -> Option<&Arc<Scanner>> {
        self.table.sentinel.as_ref().filter(|_| self.scan == ScanMode::Off)
    }

    /// Whether the answer is scanned too.
    pub fn answers(&self) -> AnswerMode {
        self.answers
    }

    /// What has to be done with a request before it leaves.
    fn demands(&self) -> impl PartialEq + '_ {
        let route = self.route();
        (self.inspect, self.scan, &route.scan_except, &route.keep, &self.table.strip, route.parameter())
    }

    /// What the request is searched for, every credential of the table in any case.
    pub fn scanner(&self) -> &Arc<Scanner> {
        self.sentinel().unwrap_or(&self.table.scanner)
    }

    /// What the route excepts; nothing of the proxy's own values.
    pub fn exemptions(&self) -> &Exemptions {
        static NONE: LazyLock<Exemptions> = LazyLock::new(Exemptions::default);
        if self.sentinel().is_some() { &NONE } else { &self.table.states[self.index].exemptions }
    }

    /// The route's credential, where it has one.
    ///
    /// # Errors
    /// The route has one that cannot be used: its requests are refused, never forwarded bare.
    pub fn credential(&self) -> Result<Option<&Arc<Credential>>, CredentialError> {
        match &self.table.states[self.index].credential {
            None => Ok(None),
            Some(Ok(credential)) => Ok(Some(credential)),
            Some(Err(error)) => Err(error.clone()),
        }
    }
}

/// Why a request gets no permit.
#[derive(Clone, Debug, Error)]
pub enum Denied {
    #[error("the rules for this request changed while it was under way")]
    Changed,
    #[error(transparent)]
    Credential(#[from] CredentialSent),
    #[error(transparent)]
    Table(#[from] Refusal),
}

/// Why a table cannot be put in force.
#[derive(Debug, Error)]
pub enum TableError {
    #[error("route `{route}` (line {line}) has no usable credential")]
    Credential { route: String, line: usize, source: CredentialError },
    #[error("route `{route}` (line {line}) excepts a rule that the scan does not have")]
    Exemption { route: String, line: usize, source: UnknownRule },
    #[error("the credentials of all routes cannot be guarded")]
    Guard(#[from] aho_corasick::BuildError),
    #[error("route `{route}` (line {line}) wants to be inspected, and the proxy runs without `--inspect`")]
    InspectorAbsent { route: String, line: usize },
    #[error("the scan's rules cannot be used")]
    Rules(#[from] RulesError),
}

/// Where the scan's rules come from.
#[derive(Clone, Debug, Default)]
pub enum ScanRules {
    /// Ours.
    #[default]
    Shipped,
    /// A file of the operator's, read again at each reload.
    File(PathBuf),
    /// The text of one, from stdin.
    Given(String),
}

impl ScanRules {
    /// The file that is to be watched.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Shipped | Self::Given(_) => None,
        }
    }

    fn compile(&self, exact: ExactValues) -> Result<Scanner, RulesError> {
        let own = match self {
            Self::Shipped => None,
            Self::File(path) => Some(RulesFile::own(path)?),
            Self::Given(text) => Some(RulesFile::parse("scan_rules", text, "user", Author::User)?),
        };
        Ok(Scanner::new(own, exact))
    }
}

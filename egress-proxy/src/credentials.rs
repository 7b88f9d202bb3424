//! Credentials: where values are kept, how agents' own are stripped, how a route's is written into a request, and the
//! guard that recognises any of them where it has no business. Nothing here has `Debug`, `Display`, `Serialize` or
//! `Clone` that could show a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use aho_corasick::AhoCorasick;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::memmem::Finder;
use shared::routes::{Auth, AuthScheme, CredentialSource, Routes};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::scan::ExactValues;

/// The least a credential may be long, in bytes: a shorter one would be found everywhere.
pub const MIN_SECRET_LENGTH: usize = 8;

/// A value that must not be shown. Overwritten when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The bytes, for writing into a request or comparing; never for showing.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Values by name: from stdin first, then from the environment, and from files by path.
#[derive(Default)]
pub struct SecretStore {
    given: BTreeMap<String, Arc<Secret>>,
}

impl SecretStore {
    /// Replaces what is named, keeps the rest.
    pub fn replace(&mut self, secrets: BTreeMap<String, String>) {
        for (name, value) in secrets {
            self.given.insert(name, Arc::new(Secret::new(value)));
        }
    }

    /// The same values, and these, which replace what has their names.
    pub fn with(&self, secrets: BTreeMap<String, String>) -> Self {
        let mut store = Self { given: self.given.clone() };
        store.replace(secrets);
        store
    }

    fn find(&self, source: &CredentialSource) -> Result<Arc<Secret>, CredentialError> {
        let name = source.name();
        let secret = match source {
            CredentialSource::Env(variable) => self.named(variable)?,
            CredentialSource::File(path) => Arc::new(Secret::new(read_secret(path)?)),
            CredentialSource::HostVariable(_) => return Err(CredentialError::Missing(name)),
        };
        match secret.expose().len() {
            0 => Err(CredentialError::Empty(name)),
            1..MIN_SECRET_LENGTH => Err(CredentialError::TooShort(name)),
            _ => Ok(secret),
        }
    }

    fn named(&self, name: &str) -> Result<Arc<Secret>, CredentialError> {
        if let Some(secret) = self.given.get(name) {
            return Ok(secret.clone());
        }
        let value = std::env::var_os(name).ok_or_else(|| CredentialError::Missing(name.to_owned()))?;
        Ok(Arc::new(Secret::new(value.into_encoded_bytes())))
    }
}

/// A route's credential, ready to be written.
pub struct Credential {
    /// Records may show it.
    pub name: String,
    field: HeaderName,
    value: HeaderValue,
    secret: Arc<Secret>,
    /// Where in `user:password` the password begins, which is a secret alone too.
    password: Option<usize>,
    placeholder: Option<Arc<Secret>>,
    /// Recognise the value in answers; built once, for every exchange needs them.
    finders: Arc<[Finder<'static>]>,
}

impl Credential {
    /// # Errors
    /// The value is missing, too short, or no field value.
    pub fn resolve(auth: &Auth, store: &SecretStore) -> Result<Self, CredentialError> {
        let name = auth.source.name();
        let secret = store.find(&auth.source)?;
        let written = match &auth.scheme {
            AuthScheme::Basic { username } => {
                let user = username.as_ref().map(|name| format!("{name}:")).unwrap_or_default();
                let pair = Zeroizing::new([user.as_bytes(), secret.expose()].concat());
                if !pair.contains(&b':') {
                    return Err(CredentialError::NotAPair(name));
                }
                [b"Basic ", BASE64_STANDARD.encode(&*pair).as_bytes()].concat()
            }
            AuthScheme::Bearer => [b"Bearer ", secret.expose()].concat(),
            AuthScheme::Header(_) => secret.expose().to_vec(),
            AuthScheme::Token => [b"token ", secret.expose()].concat(),
        };
        let mut value = HeaderValue::from_bytes(&written).map_err(|_| CredentialError::NotAFieldValue(name.clone()))?;
        value.set_sensitive(true);
        let placeholder = match &auth.placeholder {
            Some(variable) => Some(store.find(&CredentialSource::Env(variable.clone()))?),
            None => None,
        };
        let password = match &auth.scheme {
            AuthScheme::Basic { username: None } => secret.expose().iter().position(|byte| *byte == b':'),
            _ => None,
        };
        let password = password.map(|colon| colon + 1);
        let password = password.filter(|begin| secret.expose().len() - begin >= MIN_SECRET_LENGTH);
        let (field, finders) = (auth.scheme.field(), Arc::default());
        let mut credential = Self { name, field, value, secret, password, placeholder, finders };
        credential.finders = credential.echoes().into_iter().map(|value| Finder::new(value).into_owned()).collect();
        Ok(credential)
    }

    /// Writes the credential into a request that goes to its own route's origin.
    pub fn inject(&self, fields: &mut HeaderMap) {
        fields.insert(self.field.clone(), self.value.clone());
    }

    /// Tells the scan which values may not leave.
    pub fn guard(&self, exact: &mut ExactValues) {
        exact
            .add(self.name.clone(), self.password.map_or(self.secret.expose(), |begin| &self.secret.expose()[begin..]));
    }

    /// The forms in which an origin could send the value back: bare, and as it was written (without the scheme's name).
    pub fn echoes(&self) -> Vec<&[u8]> {
        let written = self.value.as_bytes();
        let written = written.iter().position(|byte| *byte == b' ').map_or(written, |space| &written[space + 1..]);
        let mut forms = vec![self.secret.expose()];
        if written != self.secret.expose() && written.len() >= MIN_SECRET_LENGTH {
            forms.push(written);
        }
        forms.extend(self.password.map(|begin| &self.secret.expose()[begin..]));
        forms
    }

    /// What finds each of the [`Credential::echoes`].
    pub fn finders(&self) -> &Arc<[Finder<'static>]> {
        &self.finders
    }
}

/// Which fields an agent's own credentials travel in: removed from every request, on every route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StripList {
    /// Few enough for a look at each to cost less than a hash.
    fields: Vec<HeaderName>,
}

impl StripList {
    pub fn of(routes: &Routes) -> Self {
        let always = ALWAYS_STRIPPED.iter().map(|name| HeaderName::from_static(name));
        let fields: BTreeSet<_> = always.chain(routes.injected_fields()).map(|name| name.to_string()).collect();
        Self { fields: fields.iter().filter_map(|name| name.parse().ok()).collect() }
    }

    pub fn contains(&self, field: &HeaderName) -> bool {
        self.fields.contains(field)
    }

    /// Removes every listed field but those that the route keeps.
    pub fn strip(&self, fields: &mut HeaderMap, keep: &[HeaderName]) {
        let sent: Vec<_> = fields.keys().filter(|name| self.contains(name) && !keep.contains(name)).cloned().collect();
        for name in sent {
            fields.remove(name);
        }
    }
}

/// Recognises real values and stand-ins in what an agent sends.
pub struct Guard {
    automaton: AhoCorasick,
    /// Nothing shorter holds a value.
    shortest: usize,
    patterns: Vec<Guarded>,
}

struct Guarded {
    name: String,
    /// A stand-in is at home in a credential field of the route with this index.
    placeholder_of: Option<(usize, HeaderName)>,
}

impl Guard {
    /// `credentials`: those of the table's routes, in its order.
    ///
    /// # Errors
    /// There are too many to look for.
    pub fn new<'c>(
        credentials: impl Iterator<Item = Option<&'c Credential>>,
    ) -> Result<Option<Self>, aho_corasick::BuildError> {
        let (mut needles, mut patterns) = (Vec::new(), Vec::new());
        for (route, credential) in credentials.enumerate() {
            let Some(credential) = credential else { continue };
            for form in credential.echoes() {
                needles.push(form.to_vec());
                patterns.push(Guarded { name: credential.name.clone(), placeholder_of: None });
            }
            if let Some(placeholder) = &credential.placeholder {
                needles.push(placeholder.expose().to_vec());
                let home = Some((route, credential.field.clone()));
                patterns.push(Guarded { name: format!("the stand-in for {}", credential.name), placeholder_of: home });
            }
        }
        // Names of hosts and fields travel in lower case.
        let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(&needles);
        let shortest = needles.iter().map(Vec::len).min().unwrap_or_default();
        for needle in &mut needles {
            zeroize::Zeroize::zeroize(needle);
        }
        Ok(if patterns.is_empty() { None } else { Some(Self { automaton: automaton?, shortest, patterns }) })
    }

    /// Looks at a whole head. `route`: the index of the route that the request is for.
    pub fn check_head(&self, target: &str, fields: &HeaderMap, route: Option<usize>) -> Result<(), CredentialSent> {
        self.check(target.as_bytes(), "URL", None)?;
        if target.contains('%') {
            self.check(&percent_decoded(target), "URL", None)?;
        }
        self.check_fields(fields, route)
    }

    /// Looks at the name of a host, wherever it stands.
    pub fn check_name(&self, name: &str) -> Result<(), CredentialSent> {
        self.check(name.as_bytes(), "the name of a host", None)
    }

    pub fn check_fields(&self, fields: &HeaderMap, route: Option<usize>) -> Result<(), CredentialSent> {
        for (name, value) in fields {
            // Names first: from here on one may be told as the place of a value.
            self.check(name.as_str().as_bytes(), "the name of a field", None)?;
            let home = route.map(|route| (route, name));
            self.check(value.as_bytes(), name.as_str(), home)?;
            if let Some(pair) = basic_pair(name, value) {
                self.check(&pair, name.as_str(), home)?;
            }
        }
        Ok(())
    }

    /// `home`: the route and the field in which `bytes` were found.
    fn check(&self, bytes: &[u8], place: &str, home: Option<(usize, &HeaderName)>) -> Result<(), CredentialSent> {
        if bytes.len() < self.shortest {
            return Ok(());
        }
        for found in self.automaton.find_overlapping_iter(bytes) {
            let guarded = &self.patterns[found.pattern().as_usize()];
            let at_home = guarded.placeholder_of.as_ref().zip(home).is_some_and(|((route, own), (here, field))| {
                *route == here && (own == field || ALWAYS_STRIPPED.contains(&field.as_str()))
            });
            if !at_home {
                return Err(CredentialSent { name: guarded.name.clone(), place: place.to_owned() });
            }
        }
        Ok(())
    }
}

/// A real credential, or a stand-in out of its place, was sent by the agent.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the value of {name} was sent in {place}")]
pub struct CredentialSent {
    pub name: String,
    pub place: String,
}

/// Why a route's credential cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CredentialError {
    #[error("the credential `{0}` is empty")]
    Empty(String),
    #[error("the credential `{0}` is not set")]
    Missing(String),
    #[error("the credential `{0}` holds bytes that no field may carry (a line end?)")]
    NotAFieldValue(String),
    #[error("the credential `{0}` must be `user:password` for scheme `Basic` without `username`")]
    NotAPair(String),
    #[error("the credential `{0}` is shorter than {MIN_SECRET_LENGTH} bytes")]
    TooShort(String),
    #[error("the credential file `{path}` cannot be read: {reason}")]
    Unreadable { path: String, reason: String },
}

/// Fields that carry credentials by convention, whatever the table says.
const ALWAYS_STRIPPED: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "private-token",
    "x-auth-token",
    "job-token",
];

/// A secret's file, without the line end that editors leave.
fn read_secret(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let unreadable = |error: std::io::Error| CredentialError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut value = std::fs::read(path).map_err(unreadable)?;
    while value.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        value.pop();
    }
    Ok(value)
}

/// What a Basic field's value holds (RFC 7617).
fn basic_pair(name: &HeaderName, value: &HeaderValue) -> Option<Vec<u8>> {
    if name != header::AUTHORIZATION && name != header::PROXY_AUTHORIZATION {
        return None;
    }
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    BASE64_STANDARD.decode(encoded.trim()).ok()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match rest {
            [b'%', high, low, after @ ..] if digit(high).is_some() && digit(low).is_some() => {
                let value = digit(high).unwrap_or_default() * 16 + digit(low).unwrap_or_default();
                decoded.push(u8::try_from(value).unwrap_or_default());
                rest = after;
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "real-value-0123";

    fn store() -> SecretStore {
        let mut store = SecretStore::default();
        let secrets =
            [("T", TOKEN), ("P", "stand-in-4567"), ("SHORT", "1234567"), ("BROKEN", "12345\n678"), ("EMPTY", "")];
        store.replace(secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        store
    }

    fn auth(scheme: AuthScheme, variable: &str) -> Auth {
        Auth { scheme, source: CredentialSource::Env(variable.to_owned()), placeholder: Some("P".to_owned()) }
    }

    fn injected(scheme: AuthScheme) -> (String, String) {
        let credential = Credential::resolve(&auth(scheme, "T"), &store()).ok().unwrap();
        let mut fields = HeaderMap::new();
        credential.inject(&mut fields);
        let (name, value) = fields.iter().next().unwrap();
        assert!(value.is_sensitive());
        (name.to_string(), value.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_scheme_writes_its_form() {
        let expect = |name: &str, value: String| (name.to_owned(), value);
        assert_eq!(injected(AuthScheme::Bearer), expect("authorization", format!("Bearer {TOKEN}")));
        assert_eq!(injected(AuthScheme::Token), expect("authorization", format!("token {TOKEN}")));
        let key = AuthScheme::Header(HeaderName::from_static("x-key"));
        assert_eq!(injected(key), expect("x-key", TOKEN.to_owned()));
        let pair = BASE64_STANDARD.encode(format!("ada:{TOKEN}"));
        let basic = AuthScheme::Basic { username: Some("ada".to_owned()) };
        assert_eq!(injected(basic), expect("authorization", format!("Basic {pair}")));
    }

    #[test]
    fn unusable_values_are_named_and_never_shown() {
        for (variable, expected) in [
            ("SHORT", CredentialError::TooShort("SHORT".to_owned())),
            ("EMPTY", CredentialError::Empty("EMPTY".to_owned())),
            ("BROKEN", CredentialError::NotAFieldValue("BROKEN".to_owned())),
            ("ABSENT_FROM_HERE", CredentialError::Missing("ABSENT_FROM_HERE".to_owned())),
        ] {
            assert_eq!(Credential::resolve(&auth(AuthScheme::Bearer, variable), &store()).err(), Some(expected));
        }
        let bare = Auth { placeholder: None, ..auth(AuthScheme::Basic { username: None }, "T") };
        assert_eq!(Credential::resolve(&bare, &store()).err(), Some(CredentialError::NotAPair("T".to_owned())));
    }

    #[test]
    fn the_guard_knows_values_and_misplaced_stand_ins() {
        let credential = Credential::resolve(&auth(AuthScheme::Bearer, "T"), &store()).ok().unwrap();
        let guard = Guard::new([None, Some(&credential)].into_iter()).unwrap().unwrap();
        let fields = |name: &'static str, value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(name, value.parse().unwrap());
            fields
        };
        let encoded = format!("Basic {}", BASE64_STANDARD.encode(format!("x:{TOKEN}")));
        for (target, fields, route) in [
            (format!("/?k={TOKEN}"), HeaderMap::new(), Some(1)),
            ("/?k=real%2Dvalue-0123".to_owned(), HeaderMap::new(), Some(1)),
            ("/".to_owned(), fields("authorization", &format!("Bearer {TOKEN}")), Some(1)),
            ("/".to_owned(), fields("authorization", &encoded), Some(1)),
            ("/".to_owned(), fields("x-other", "a stand-in-4567 b"), Some(1)),
            ("/".to_owned(), fields("authorization", "Bearer stand-in-4567"), Some(0)),
            ("/stand-in-4567".to_owned(), HeaderMap::new(), Some(1)),
        ] {
            assert!(guard.check_head(&target, &fields, route).is_err(), "{target} {fields:?}");
        }
        assert_eq!(guard.check_head("/", &fields("authorization", "Bearer stand-in-4567"), Some(1)), Ok(()));
    }

    #[test]
    fn stripping_covers_every_injected_field_and_spares_what_is_kept() {
        let mut log = shared::yaml::Diagnostics::default();
        let table = "routes: [{host: a.example, auth: {scheme: header, header: X-Own, token_env: T}}]";
        let routes = shared::routes::decode(table, shared::routes::Dialect::Proxy, &mut log).unwrap();
        let strip = StripList::of(&routes);
        let mut fields = HeaderMap::new();
        for name in ["authorization", "x-own", "x-api-key", "accept"] {
            fields.insert(name, HeaderValue::from_static("v"));
        }
        strip.strip(&mut fields, &[header::AUTHORIZATION]);
        let left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["authorization", "accept"]);
    }

    #[test]
    fn the_password_of_a_pair_is_a_secret_alone() {
        let mut store = store();
        store.replace(BTreeMap::from([("PAIR".to_owned(), "ada:battery-staple".to_owned())]));
        let credential = Credential::resolve(&auth(AuthScheme::Basic { username: None }, "PAIR"), &store).ok().unwrap();
        assert!(credential.echoes().contains(&&b"battery-staple"[..]));
        let guard = Guard::new([Some(&credential)].into_iter()).unwrap().unwrap();
        assert!(guard.check_head("/battery-staple", &HeaderMap::new(), Some(0)).is_err());
    }
}

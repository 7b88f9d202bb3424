//! Credentials: where values are kept, how agents' own are stripped, how a route's is written into a request, and the
//! guard that recognises any of them where it has no business. Nothing here has `Debug`, `Display`, `Serialize` or
//! `Clone` that could show a value.

mod forms;
mod guard;
mod secrets;

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use shared::routes::{Auth, AuthScheme, CredentialSource, Routes, query};
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::{
    forms::Echoes,
    guard::{CredentialSent, Guard},
    secrets::{Secret, SecretStore},
};
use crate::{
    scan::ExactValues,
    target::{self, TargetError},
};

/// The least a credential may be long, in bytes: a shorter one would be found everywhere.
pub const MIN_SECRET_LENGTH: usize = 8;

/// A route's credential, ready to be written.
pub struct Credential {
    /// Records may show it.
    pub name: Arc<str>,
    slot: Slot,
    secret: Arc<Secret>,
    /// Where in `user:password` the password begins, which is a secret alone too.
    password: Option<usize>,
    placeholder: Option<Arc<Secret>>,
    echoes: Arc<Echoes>,
}

/// Where and as what a credential is written.
#[derive(Clone)]
enum Slot {
    Field { name: HeaderName, value: HeaderValue },
    Parameter { name: String, encoded: Arc<Zeroizing<String>> },
}

impl Slot {
    fn of(scheme: &AuthScheme, name: &str, secret: &[u8]) -> Result<Self, CredentialError> {
        let (field, written) = match scheme {
            AuthScheme::Basic { username } => {
                let user = username.as_ref().map(|name| format!("{name}:")).unwrap_or_default();
                let pair = Zeroizing::new([user.as_bytes(), secret].concat());
                if !pair.contains(&b':') {
                    return Err(CredentialError::NotAPair(name.to_owned()));
                }
                (http::header::AUTHORIZATION, [b"Basic ", BASE64_STANDARD.encode(&*pair).as_bytes()].concat())
            }
            AuthScheme::Bearer => (http::header::AUTHORIZATION, [b"Bearer ", secret].concat()),
            AuthScheme::Header(field) => (field.clone(), secret.to_vec()),
            AuthScheme::Query { parameter } => {
                let encoded = Arc::new(Zeroizing::new(forms::encoded(secret)));
                return Ok(Self::Parameter { name: parameter.clone(), encoded });
            }
            AuthScheme::Token => (http::header::AUTHORIZATION, [b"token ", secret].concat()),
        };
        let unusable = |_| CredentialError::NotAFieldValue(name.to_owned());
        let mut value = HeaderValue::from_bytes(&written).map_err(unusable)?;
        value.set_sensitive(true);
        Ok(Self::Field { name: field, value })
    }

    /// The value as it is written, without the name of a scheme.
    fn written(&self) -> &[u8] {
        match self {
            Self::Field { value, .. } => {
                let written = value.as_bytes();
                written.iter().position(|byte| *byte == b' ').map_or(written, |space| &written[space + 1..])
            }
            Self::Parameter { encoded, .. } => encoded.as_bytes(),
        }
    }
}

impl Credential {
    /// # Errors
    /// The value is missing, too short, or no field value.
    pub fn resolve(auth: &Auth, store: &SecretStore) -> Result<Self, CredentialError> {
        let name = auth.source.name();
        let secret = store.find(&auth.source)?;
        let slot = Slot::of(&auth.scheme, &name, secret.expose())?;
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
        let echoes = Echoes::of(&values(&slot, &secret, password));
        let echoes = Arc::new(echoes.map_err(|_| CredentialError::TooLong(name.clone()))?);
        Ok(Self { name: name.into(), slot, secret, password, placeholder, echoes })
    }

    /// Writes the credential into a request that goes to its own route's origin, in place of whatever the agent had there.
    ///
    /// # Errors
    /// The target would grow too long.
    pub fn inject(&self, head: &mut Parts) -> Result<(), TargetError> {
        match &self.slot {
            Slot::Field { name, value } => {
                head.headers.insert(name.clone(), value.clone());
                Ok(())
            }
            Slot::Parameter { name, encoded } => {
                let target = target::path_and_query(&head.uri);
                let target = Zeroizing::new(query::with(target.as_str(), name, encoded));
                target::replace(&mut head.uri, &target)
            }
        }
    }

    /// What is written into a field; `None` for one that travels in the query.
    pub fn field_value(&self) -> Option<&HeaderValue> {
        match &self.slot {
            Slot::Field { value, .. } => Some(value),
            Slot::Parameter { .. } => None,
        }
    }

    /// Tells the scan which values may not leave.
    pub fn guard(&self, exact: &mut ExactValues) {
        let secret = self.password.map_or(self.secret.expose(), |begin| &self.secret.expose()[begin..]);
        exact.add(&*self.name, secret);
        if let Some(placeholder) = &self.placeholder {
            exact.add_stand_in(&*self.name, placeholder.expose());
        }
    }

    /// What is secret about it: the bare value, what is written, and the password of a pair.
    pub fn values(&self) -> Vec<&[u8]> {
        values(&self.slot, &self.secret, self.password)
    }

    /// What finds the value in answers.
    pub fn echoes(&self) -> &Arc<Echoes> {
        &self.echoes
    }

    /// Whether both hold one value.
    pub fn is_same_secret(&self, other: &Self) -> bool {
        self.secret.expose() == other.secret.expose()
    }
}

fn values<'s>(slot: &'s Slot, secret: &'s Secret, password: Option<usize>) -> Vec<&'s [u8]> {
    let mut values = vec![secret.expose()];
    let written = slot.written();
    if written != secret.expose() && written.len() >= MIN_SECRET_LENGTH {
        values.push(written);
    }
    values.extend(password.map(|begin| &secret.expose()[begin..]));
    values
}

/// Which fields an agent's own credentials travel in: removed from every request, on every route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StripList {
    /// Few enough for a look at each to cost less than a hash.
    fields: Vec<HeaderName>,
    /// Which lengths they have, a bit for each: most names have another.
    lengths: u64,
}

impl StripList {
    pub fn of(routes: &Routes) -> Self {
        let always = ALWAYS_STRIPPED.iter().map(|name| HeaderName::from_static(name));
        let fields: BTreeSet<_> = always.chain(routes.injected_fields()).map(|name| name.to_string()).collect();
        let fields: Vec<HeaderName> = fields.iter().filter_map(|name| name.parse().ok()).collect();
        let lengths = fields.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Self { fields, lengths }
    }

    pub fn contains(&self, field: &HeaderName) -> bool {
        self.lengths & length_bit(field) != 0 && self.fields.contains(field)
    }

    /// Removes every listed field but those that the route keeps.
    pub fn strip(&self, fields: &mut HeaderMap, keep: &[HeaderName]) {
        // Looked for anew after each: a head has one, if any.
        while let Some(name) = fields.keys().find(|name| self.contains(name) && !keep.contains(name)).cloned() {
            fields.remove(name);
        }
    }
}

/// All lengths from 63 on share a bit.
fn length_bit(name: &HeaderName) -> u64 {
    1 << name.as_str().len().min(63)
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
    #[error("the credential `{0}` is too long to be guarded")]
    TooLong(String),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::header;

    use super::*;

    const TOKEN: &str = "real-value-0123";

    fn store() -> SecretStore {
        let mut store = SecretStore::default();
        let secrets =
            [("T", TOKEN), ("P", "stand-in-4567"), ("SHORT", "1234567"), ("BROKEN", "12345\n678"), ("EMPTY", "")];
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        store.replace(secrets.collect::<BTreeMap<_, _>>());
        store
    }

    fn auth(scheme: AuthScheme, variable: &str) -> Auth {
        Auth { scheme, source: CredentialSource::Env(variable.to_owned()), placeholder: Some("P".to_owned()) }
    }

    fn injected(scheme: AuthScheme) -> (String, String) {
        let credential = Credential::resolve(&auth(scheme, "T"), &store()).ok().unwrap();
        let (mut head, ()) = http::Request::new(()).into_parts();
        credential.inject(&mut head).unwrap();
        let (name, value) = head.headers.iter().next().unwrap();
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
    fn a_parameter_is_encoded_and_put_at_the_end_of_the_query() {
        let scheme = AuthScheme::Query { parameter: "key".to_owned() };
        let mut store = store();
        store.replace(BTreeMap::from([("Q".to_owned(), "a/b+c d&e=f?g%h".to_owned())]));
        let credential = Credential::resolve(&auth(scheme, "Q"), &store).ok().unwrap();
        for (target, expected) in [
            ("/x?a=%2f", "/x?a=%2f&key=a%2Fb%2Bc%20d%26e%3Df%3Fg%25h"),
            ("https://h.example/x", "https://h.example/x?key=a%2Fb%2Bc%20d%26e%3Df%3Fg%25h"),
        ] {
            let (mut head, ()) = http::Request::builder().uri(target).body(()).unwrap().into_parts();
            credential.inject(&mut head).unwrap();
            assert_eq!(head.uri.to_string(), expected);
        }
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
}

//! Recognises real credentials, present and former, and stand-ins out of their place in the head of what an agent sends.
//! Never says where in a text one stands, nor what stood there.

use aho_corasick::AhoCorasick;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use shared::routes::{path::fully_decoded, query};
use thiserror::Error;

use super::{ALWAYS_STRIPPED, Credential, Slot};

/// Recognises real values and stand-ins in what an agent sends.
pub struct Guard {
    automaton: AhoCorasick,
    /// Nothing shorter holds a value.
    shortest: usize,
    patterns: Vec<Guarded>,
}

struct Guarded {
    name: String,
    /// A stand-in is at home where the routes with these indexes inject; several may share one.
    homes: Vec<(usize, Slot)>,
}

/// Where in a request something stands, and for which route the request is.
#[derive(Clone, Copy)]
struct Place<'r> {
    route: Option<usize>,
    part: Part<'r>,
}

#[derive(Clone, Copy)]
enum Part<'r> {
    Elsewhere,
    Field(&'r HeaderName),
    /// Among others, the value of the parameter that the route injects.
    Query,
}

impl Slot {
    fn is_at(&self, part: Part<'_>) -> bool {
        match (self, part) {
            (Self::Field { name, .. }, Part::Field(field)) if name == field => true,
            (_, Part::Field(field)) => ALWAYS_STRIPPED.contains(&field.as_str()),
            (Self::Parameter { .. }, Part::Query) => true,
            _ => false,
        }
    }
}

impl Guard {
    /// `credentials`: those of the table's routes, in its order; `former`: those that are no longer injected.
    ///
    /// # Errors
    /// There are too many to look for.
    pub fn new<'c>(
        credentials: impl Iterator<Item = Option<&'c Credential>>,
        former: impl Iterator<Item = &'c Credential>,
    ) -> Result<Option<Self>, aho_corasick::BuildError> {
        let (mut needles, mut patterns) = (Vec::<Vec<u8>>::new(), Vec::<Guarded>::new());
        for (route, credential) in credentials.enumerate() {
            let Some(credential) = credential else { continue };
            for value in credential.values() {
                needles.push(value.to_vec());
                patterns.push(Guarded { name: credential.name.to_string(), homes: Vec::new() });
            }
            if let Some(placeholder) = &credential.placeholder {
                let home = (route, credential.slot.clone());
                if let Some(shared) = needles.iter().position(|needle| needle == placeholder.expose()) {
                    patterns[shared].homes.push(home);
                    continue;
                }
                needles.push(placeholder.expose().to_vec());
                patterns.push(Guarded { name: format!("the stand-in for {}", credential.name), homes: vec![home] });
            }
        }
        for credential in former {
            for value in credential.values() {
                needles.push(value.to_vec());
                patterns.push(Guarded { name: format!("a former {}", credential.name), homes: Vec::new() });
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

    /// Looks at a whole head. `route`: the index of the route that the request is for; `parameter`: what it injects into
    /// the query.
    pub fn check_head(
        &self,
        target: &str,
        fields: &HeaderMap,
        route: Option<usize>,
        parameter: Option<&str>,
    ) -> Result<(), CredentialSent> {
        // A stand-in is at home in its parameter and nowhere else in the target.
        let bare = parameter.and_then(|parameter| query::without(target, parameter));
        if let Some(bare) = &bare {
            self.check_target(bare, Part::Elsewhere, route)?;
        }
        let part = if bare.is_some() { Part::Query } else { Part::Elsewhere };
        self.check_target(target, part, route)?;
        self.check_fields(fields, route)
    }

    /// Looks at the name of a host, wherever it stands.
    pub fn check_name(&self, name: &str) -> Result<(), CredentialSent> {
        self.check(name.as_bytes(), "the name of a host", Place { route: None, part: Part::Elsewhere })
    }

    pub fn check_fields(&self, fields: &HeaderMap, route: Option<usize>) -> Result<(), CredentialSent> {
        for (name, value) in fields {
            if name.as_str().len().max(value.len()) < self.shortest {
                continue;
            }
            // Names first: from here on one may be told as the place of a value.
            self.check(name.as_str().as_bytes(), "the name of a field", Place { route, part: Part::Elsewhere })?;
            let place = Place { route, part: Part::Field(name) };
            self.check(value.as_bytes(), name.as_str(), place)?;
            if let Some(pair) = basic_pair(name, value) {
                self.check(&pair, name.as_str(), place)?;
            }
        }
        Ok(())
    }

    fn check_target(&self, target: &str, part: Part<'_>, route: Option<usize>) -> Result<(), CredentialSent> {
        self.check(target.as_bytes(), "URL", Place { route, part })?;
        match target.contains('%') {
            true => self.check(&fully_decoded(target), "URL", Place { route, part }),
            false => Ok(()),
        }
    }

    fn check(&self, bytes: &[u8], told: &str, place: Place<'_>) -> Result<(), CredentialSent> {
        if bytes.len() < self.shortest {
            return Ok(());
        }
        for found in self.automaton.find_overlapping_iter(bytes) {
            let guarded = &self.patterns[found.pattern().as_usize()];
            let at_home = |(route, slot): &(usize, Slot)| Some(*route) == place.route && slot.is_at(place.part);
            if !guarded.homes.iter().any(at_home) {
                return Err(CredentialSent { name: guarded.name.clone(), place: told.to_owned() });
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::routes::{Auth, AuthScheme, CredentialSource};

    use super::{super::SecretStore, *};

    const TOKEN: &str = "real-value-0123";

    fn credential(scheme: AuthScheme, secret: &str, placeholder: &str) -> Credential {
        let mut store = SecretStore::default();
        let secrets = [("T", secret), ("P", placeholder)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        store.replace(BTreeMap::from(secrets));
        let (source, placeholder) = (CredentialSource::Env("T".to_owned()), Some("P".to_owned()));
        Credential::resolve(&Auth { scheme, source, placeholder }, &store).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_guard_knows_values_and_misplaced_stand_ins() {
        let credential = credential(AuthScheme::Bearer, TOKEN, "stand-in-4567");
        let guard = Guard::new([None, Some(&credential)].into_iter(), [].into_iter()).unwrap().unwrap();
        let fields = |name: &'static str, value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(name, value.parse().unwrap());
            fields
        };
        let encoded = format!("Basic {}", BASE64_STANDARD.encode(format!("x:{TOKEN}")));
        for (target, fields, route) in [
            (format!("/?k={TOKEN}"), HeaderMap::new(), Some(1)),
            ("/?k=real%2Dvalue-0123".to_owned(), HeaderMap::new(), Some(1)),
            ("/?k=real%252Dvalue-0123".to_owned(), HeaderMap::new(), Some(1)),
            ("/".to_owned(), fields("authorization", &format!("Bearer {TOKEN}")), Some(1)),
            ("/".to_owned(), fields("authorization", &encoded), Some(1)),
            ("/".to_owned(), fields("x-other", "a stand-in-4567 b"), Some(1)),
            ("/".to_owned(), fields("authorization", "Bearer stand-in-4567"), Some(0)),
            ("/stand-in-4567".to_owned(), HeaderMap::new(), Some(1)),
        ] {
            assert!(guard.check_head(&target, &fields, route, None).is_err(), "{target} {fields:?}");
        }
        assert_eq!(guard.check_head("/", &fields("authorization", "Bearer stand-in-4567"), Some(1), None), Ok(()));
    }

    #[test]
    fn a_stand_in_for_a_parameter_is_at_home_in_that_parameter_only() {
        let credential = credential(AuthScheme::Query { parameter: "key".to_owned() }, TOKEN, "stand-in-4567");
        let guard = Guard::new([Some(&credential)].into_iter(), [].into_iter()).unwrap().unwrap();
        let check = |target: &str, route| guard.check_head(target, &HeaderMap::new(), Some(route), Some("key"));
        assert_eq!(check("/?a=b&key=stand-in-4567", 0), Ok(()));
        for (target, route) in [
            ("/?key=stand-in-4567", 1),
            ("/?a=stand-in-4567", 0),
            ("/?key=stand-in-4567&a=stand-in-4567", 0),
            ("/stand-in-4567?key=stand-in-4567", 0),
            ("/?key=real-value-0123", 0),
        ] {
            assert!(check(target, route).is_err(), "{target}");
        }
    }

    #[test]
    fn routes_may_share_a_stand_in() {
        let header = credential(AuthScheme::Header(HeaderName::from_static("x-key")), TOKEN, "stand-in-4567");
        let bearer = credential(AuthScheme::Bearer, TOKEN, "stand-in-4567");
        let guard = Guard::new([Some(&header), Some(&bearer)].into_iter(), [].into_iter()).unwrap().unwrap();
        let fields =
            HeaderMap::from_iter([(HeaderName::from_static("x-key"), HeaderValue::from_static("stand-in-4567"))]);
        assert_eq!(guard.check_fields(&fields, Some(0)), Ok(()));
        assert!(guard.check_fields(&fields, Some(1)).is_err());
    }

    #[test]
    fn a_former_credential_is_still_known() {
        let former = credential(AuthScheme::Bearer, TOKEN, "stand-in-4567");
        let guard = Guard::new([].into_iter(), [&former].into_iter()).unwrap().unwrap();
        assert!(guard.check_head("/real-value-0123", &HeaderMap::new(), None, None).is_err());
    }

    #[test]
    fn the_password_of_a_pair_is_a_secret_alone() {
        let credential = credential(AuthScheme::Basic { username: None }, "ada:battery-staple", "stand-in-4567");
        assert!(credential.values().contains(&&b"battery-staple"[..]));
        let guard = Guard::new([Some(&credential)].into_iter(), [].into_iter()).unwrap().unwrap();
        assert!(guard.check_head("/battery-staple", &HeaderMap::new(), Some(0), None).is_err());
    }
}

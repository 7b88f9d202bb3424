//! Parts of heads that were clean a moment ago. Clients send most of a head again and again, and what a part is judged to
//! be depends on its bytes alone: one that comes again, byte for byte, is not searched again.
//!
//! It must never know a part in which something was found, nor one that was judged with exemptions.

use std::{
    hash::{BuildHasher, Hasher},
    sync::{Mutex, MutexGuard, TryLockError},
};

use foldhash::fast::RandomState;

use super::{BETWEEN, Part};

/// So many parts are known. Each has two places, so that few that come again drive each other out.
const PLACES: usize = 128;
/// Longer ones are searched each time: they seldom come again.
const LONGEST: usize = 512;

/// The parts that one scanner knows to be clean.
#[derive(Default)]
pub struct Known {
    /// None where nothing was remembered so far.
    places: Mutex<Vec<Place>>,
    random: RandomState,
}

/// A part that was clean: of what kind it is, and its name and text with a sign between them that a name never holds.
#[derive(Clone, Default)]
struct Place {
    hash: u64,
    kind: u8,
    text: Vec<u8>,
}

/// What is known, to be looked at for one head.
pub(super) struct Look<'k> {
    places: MutexGuard<'k, Vec<Place>>,
    random: &'k RandomState,
}

impl Known {
    /// `None` while another head has it: searching is cheaper than waiting.
    pub(super) fn look(&self) -> Option<Look<'_>> {
        let places = match self.places.try_lock() {
            Ok(places) => places,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Look { places, random: &self.random })
    }

    /// Remembers parts that were clean, unless another head has it.
    pub(super) fn remember<'p>(&self, parts: impl Iterator<Item = Part<'p>>) {
        let Some(Look { mut places, .. }) = self.look() else { return };
        for part in parts {
            let Some((kind, name, text)) = part.spelled() else { continue };
            if name.len() + text.len() > LONGEST {
                continue;
            }
            if places.is_empty() {
                places.resize(PLACES, Place::default());
            }
            let hash = hash(&self.random, kind, name, text);
            let [first, second] = places_of(hash);
            let place = if places[first].text.is_empty() { first } else { second };
            let place = &mut places[place];
            (place.hash, place.kind) = (hash, kind);
            place.text.clear();
            place.text.extend_from_slice(name);
            place.text.push(BETWEEN);
            place.text.extend_from_slice(text);
        }
    }
}

impl Look<'_> {
    /// Whether this part was clean.
    pub(super) fn knows(&self, part: Part<'_>) -> bool {
        let Some((kind, name, text)) = part.spelled() else { return false };
        if name.len() + text.len() > LONGEST {
            return false;
        }
        let hash = hash(self.random, kind, name, text);
        places_of(hash).into_iter().filter_map(|place| self.places.get(place)).any(|place| {
            let is = || place.text.strip_prefix(name)?.strip_prefix(&[BETWEEN]);
            place.hash == hash && place.kind == kind && is() == Some(text)
        })
    }
}

fn hash(random: &RandomState, kind: u8, name: &[u8], text: &[u8]) -> u64 {
    let mut hasher = random.build_hasher();
    hasher.write_u8(kind);
    hasher.write(name);
    hasher.write(text);
    hasher.finish()
}

fn places_of(hash: u64) -> [usize; 2] {
    [hash, hash >> 32].map(|hash| hash as usize % PLACES)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{
        super::{Section, values},
        *,
    };
    use crate::scan::{Exemptions, Scanner};

    #[test]
    fn a_part_is_known_only_byte_for_byte_and_in_its_kind() {
        let field = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        let known = Known::default();
        let fields = field("x-a", "bc");
        known.remember(values(&fields, Section::Trailers).chain([Part::Target("/x"), Part::Authority("")]));
        let look = known.look().unwrap();
        let knows = |fields: &HeaderMap| values(fields, Section::Head).all(|part| look.knows(part));
        assert!(knows(&fields) && look.knows(Part::Target("/x")) && look.knows(Part::Authority("")));
        for (name, value) in [("x-ab", "c"), ("x-", "abc"), ("x-a", "bC"), ("x-a", ""), ("x-a", "bcd"), ("x-a", "b")] {
            assert!(!knows(&field(name, value)), "{name}: {value}");
        }
        for other in [Part::Authority("/x"), Part::Target("/x?"), Part::Target("/"), Part::Target("")] {
            assert!(!look.knows(other));
        }
    }

    #[test]
    fn what_is_found_or_exempt_is_found_again() {
        // Built from parts, so that no scanner takes this file for a leak.
        let key = HeaderValue::try_from(["AK", "IA", "QYLPMN5HHHFPZAM2"].concat()).unwrap();
        let scanner = Arc::new(Scanner::builtin());
        let exempt = scanner.exemptions(&["aws-access-key".to_owned()]).unwrap();
        let fields = HeaderMap::from_iter([(HeaderName::from_static("x-a"), key)]);
        let head = |except: &Exemptions| scanner.head(&Method::GET, "a.example", "/", &fields, except).is_err();
        for _ in 0..2 {
            assert!(!head(&exempt));
            assert!(head(&Exemptions::default()));
        }
    }

    #[test]
    fn a_head_is_judged_while_another_is_compared() {
        // Built from parts, so that no scanner takes this file for a leak.
        let key = ["/AK", "IA", "QYLPMN5HHHFPZAM2"].concat();
        let scanner = Scanner::builtin();
        let judge = |target: &str| {
            scanner.head(&Method::GET, "a.example", target, &HeaderMap::new(), &Exemptions::default()).is_ok()
        };
        let another = scanner.known.look().unwrap();
        assert!(judge("/") && !judge(&key));
        assert!(!another.knows(Part::Target("/")), "nothing is waited for to remember it");
        drop(another);
        assert!(judge("/") && scanner.known.look().unwrap().knows(Part::Target("/")));
    }
}

//! Heads and trailers: short texts that are wholly there.

mod known;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use self::known::Known;
use super::{Exemptions, Finding, Place, Rule, Scanner, search::Match};

/// Formats that are written in capitals are longer than this.
const SHORTEST: usize = 16;
/// Stands between parts; whatever is found across one is looked for again in each part.
const BETWEEN: u8 = b'\n';

/// The parts of a head in one row, so that one pass tells which of them need to be looked at.
#[derive(Default)]
struct Row<'h> {
    text: Vec<u8>,
    parts: Vec<(usize, Part<'h>)>,
}

/// Something that a client wrote.
#[derive(Clone, Copy)]
enum Part<'h> {
    Method(&'h Method),
    Authority(&'h str),
    /// Path and query as one text, so that nothing hides across the question mark.
    Target(&'h str),
    /// With what to call its place.
    Name(&'h HeaderName, Section),
    Value(&'h HeaderName, &'h HeaderValue, Section),
}

#[derive(Clone, Copy)]
enum Section {
    Head,
    Trailers,
}

impl Scanner {
    /// Judges everything in a request's head that the client wrote: method, authority, path and query (as sent and
    /// unescaped), names and values of fields.
    pub fn head(
        &self,
        method: &Method,
        authority: &str,
        path_and_query: &str,
        fields: &HeaderMap,
        except: &Exemptions,
    ) -> Result<(), Finding> {
        let first = [Part::Method(method), Part::Authority(authority), Part::Target(path_and_query)];
        self.parts(first.into_iter().chain(values(fields, Section::Head)), except)
    }

    /// Judges the fields of an answer.
    pub fn answer_fields(&self, fields: &HeaderMap, except: &Exemptions) -> Result<(), Finding> {
        self.parts(values(fields, Section::Head), except)
    }

    /// Judges trailers.
    pub fn trailers(&self, fields: &HeaderMap, except: &Exemptions) -> Result<(), Finding> {
        self.parts(values(fields, Section::Trailers), except)
    }

    /// Judges all parts but those that were clean a moment ago.
    fn parts<'p>(&self, parts: impl Iterator<Item = Part<'p>>, except: &Exemptions) -> Result<(), Finding> {
        let memory = (*except == Exemptions::default()).then_some(&self.known);
        let known = memory.and_then(Known::look);
        let mut row = Row::default();
        parts.filter(|part| !known.as_ref().is_some_and(|known| known.knows(*part))).for_each(|part| row.add(part));
        drop(known);
        if row.parts.is_empty() {
            return Ok(());
        }
        self.row(&row, except)?;
        if let Some(memory) = memory {
            memory.remember(row.parts.iter().map(|(_, part)| *part));
        }
        Ok(())
    }

    /// Looks at the parts in which there may be something, in their order.
    fn row(&self, row: &Row<'_>, except: &Exemptions) -> Result<(), Finding> {
        let mut places = Vec::new();
        self.candidates(&row.text, |at| places.push(at));
        places.sort_unstable();
        let mut judged = 0;
        for at in places {
            let part = row.parts.partition_point(|(start, _)| *start <= at);
            if part > judged {
                judged = part;
                self.part(row.parts[part - 1].1, except)?;
            }
        }
        Ok(())
    }

    fn part(&self, part: Part<'_>, except: &Exemptions) -> Result<(), Finding> {
        match part {
            Part::Method(method) => self.text(method.as_str().as_bytes(), except, || Place::Method),
            Part::Authority(authority) => self.lowered(authority, except, || Place::Authority),
            Part::Target(target) => self.target(target, except),
            Part::Name(name, Section::Head) => self.lowered(name.as_str(), except, || Place::FieldName),
            Part::Name(name, Section::Trailers) => self.lowered(name.as_str(), except, || Place::TrailerName),
            Part::Value(name, value, section) => self.text(value.as_bytes(), except, || match section {
                Section::Head => Place::Field(name.clone()),
                Section::Trailers => Place::Trailer(name.clone()),
            }),
        }
    }

    fn target(&self, target: &str, except: &Exemptions) -> Result<(), Finding> {
        let query = target.find('?').unwrap_or(target.len());
        if let Some(found) = self.search(target.as_bytes(), except) {
            let place = if found.at > query { Place::Query } else { Place::Path };
            return Err(self.finding(found, place));
        }
        // A slash that is escaped belongs to a segment, a plain one ends it.
        for segment in target[..query].split('/').filter(|segment| segment.contains('%')) {
            self.text(segment.as_bytes(), except, || Place::Path)?;
        }
        Ok(())
    }

    /// Judges what reaches us in lower case whatever the client wrote, a field's name or a host's: in capitals too, for
    /// that is how many formats are written.
    fn lowered(&self, text: &str, except: &Exemptions, place: fn() -> Place) -> Result<(), Finding> {
        self.text(text.as_bytes(), except, place)?;
        match text.len() {
            0..SHORTEST => Ok(()),
            _ => self.text(text.to_ascii_uppercase().as_bytes(), except, place),
        }
    }

    fn text(&self, text: &[u8], except: &Exemptions, place: impl FnOnce() -> Place) -> Result<(), Finding> {
        match self.search(text, except) {
            Some(found) => Err(self.finding(found, place())),
            None => Ok(()),
        }
    }

    pub(super) fn finding(&self, found: Match, place: Place) -> Finding {
        let rule = self.rules[found.rule].as_deref();
        let text = |part: fn(&Rule) -> &str| rule.map(part).unwrap_or_default().to_owned();
        Finding { rule: text(Rule::id), description: text(Rule::description), place, layers: found.layers }
    }
}

/// The fields as parts: a value brings its name with it.
fn values(fields: &HeaderMap, section: Section) -> impl Iterator<Item = Part<'_>> {
    fields.iter().map(move |(name, value)| Part::Value(name, value, section))
}

impl<'h> Part<'h> {
    /// Its kind, its name and its text, all that its verdict depends on.
    fn spelled(self) -> Option<(u8, &'h [u8], &'h [u8])> {
        match self {
            Part::Method(method) => Some((b'M', b"", method.as_str().as_bytes())),
            Part::Authority(text) => Some((b'A', b"", text.as_bytes())),
            Part::Target(text) => Some((b'T', b"", text.as_bytes())),
            Part::Value(name, value, _) => Some((b'F', name.as_str().as_bytes(), value.as_bytes())),
            // Is judged with its value.
            Part::Name(..) => None,
        }
    }
}

impl<'h> Row<'h> {
    fn add(&mut self, part: Part<'h>) {
        if self.parts.is_empty() {
            self.text.reserve(1024);
            self.parts.reserve(16);
        }
        if let Part::Value(name, _, section) = part
            && !is_common(name.as_str())
        {
            self.add_one(Part::Name(name, section));
        }
        self.add_one(part);
    }

    fn add_one(&mut self, part: Part<'h>) {
        self.parts.push((self.text.len(), part));
        let text = match part {
            Part::Method(method) => method.as_str().as_bytes(),
            Part::Authority(text) | Part::Target(text) => text.as_bytes(),
            Part::Name(name, _) => name.as_str().as_bytes(),
            Part::Value(_, value, _) => value.as_bytes(),
        };
        self.text.extend_from_slice(text);
        self.text.push(BETWEEN);
        if matches!(part, Part::Authority(_) | Part::Name(..)) && text.len() >= SHORTEST {
            self.text.extend(text.iter().map(u8::to_ascii_uppercase));
            self.text.push(BETWEEN);
        }
    }
}

/// Names that are nobody's secret.
fn is_common(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "authorization"
            | "cache-control"
            | "content-encoding"
            | "content-length"
            | "content-type"
            | "cookie"
            | "host"
            | "if-modified-since"
            | "if-none-match"
            | "origin"
            | "range"
            | "referer"
            | "user-agent"
    )
}

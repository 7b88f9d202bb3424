//! Heads and trailers: short texts that are wholly there.

use http::{HeaderMap, Method};

use super::{Exemptions, Finding, Place, Rule, Scanner, search::Match};

/// Formats that are written in capitals are longer than this.
const SHORTEST: usize = 16;

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
        self.text(method.as_str().as_bytes(), except, || Place::Method)?;
        self.lowered(authority, except, || Place::Authority)?;
        // As one text, so that nothing hides across the question mark; the place is told apart afterwards.
        let query = path_and_query.find('?').unwrap_or(path_and_query.len());
        if let Some(found) = self.search(path_and_query.as_bytes(), except) {
            let place = if found.at > query { Place::Query } else { Place::Path };
            return Err(self.finding(found, place));
        }
        // A slash that is escaped belongs to a segment, a plain one ends it.
        for segment in path_and_query[..query].split('/').filter(|segment| segment.contains('%')) {
            self.text(segment.as_bytes(), except, || Place::Path)?;
        }
        self.fields(fields, except, || Place::FieldName, Place::Field)
    }

    /// Judges the trailers of a request.
    pub fn trailers(&self, fields: &HeaderMap, except: &Exemptions) -> Result<(), Finding> {
        self.fields(fields, except, || Place::TrailerName, Place::Trailer)
    }

    fn fields(
        &self,
        fields: &HeaderMap,
        except: &Exemptions,
        in_name: fn() -> Place,
        in_value: fn(http::HeaderName) -> Place,
    ) -> Result<(), Finding> {
        for (name, value) in fields {
            self.lowered(name.as_str(), except, in_name)?;
            self.text(value.as_bytes(), except, || in_value(name.clone()))?;
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

//! Heads and trailers: short texts that are wholly there.

use http::{HeaderMap, Method};

use super::{Exemptions, Finding, Place, Scanner, search::Match};

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
        self.text(authority.as_bytes(), except, || Place::Authority)?;
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
            self.text(name.as_str().as_bytes(), except, in_name)?;
            self.text(value.as_bytes(), except, || in_value(name.clone()))?;
        }
        Ok(())
    }

    fn text(&self, text: &[u8], except: &Exemptions, place: impl FnOnce() -> Place) -> Result<(), Finding> {
        match self.search(text, except) {
            Some(found) => Err(self.finding(found, place())),
            None => Ok(()),
        }
    }

    pub(super) fn finding(&self, found: Match, place: Place) -> Finding {
        let rule = &self.rules[found.rule];
        Finding { rule: rule.id.clone(), description: rule.description.clone(), place, layers: found.layers }
    }
}

//! Traffic that was seen once, read back from records (one JSON object a line) or from a HAR: what the judge of a table
//! can be asked about again.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use shared::{
    authority::Authority,
    record::{ExchangeRecord, Outcome, Record},
    routes::Scheme,
};
use thiserror::Error;

/// One request that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub scheme: Scheme,
    pub authority: Authority,
    pub method: String,
    /// The path, with the query where the source has it; `None` where it was withheld.
    pub target: Option<String>,
    /// Fields, where the source has them: records have none.
    pub fields: HeaderMap,
    pub then: Then,
    /// The name of the credential that was injected.
    pub credential: Option<String>,
}

/// What the table of that time said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    Granted,
    Refused,
}

/// All of it, in the order in which it was written.
#[derive(Debug, Default)]
pub struct Traffic {
    pub seen: Vec<Seen>,
    /// Exchanges that no table decides about: something was found in them, or they were broken.
    pub aside: usize,
}

impl Traffic {
    /// Reads files, or stdin where there are none.
    ///
    /// # Errors
    /// A file cannot be read, or a line of it is neither record nor HAR.
    pub fn read(files: &[PathBuf], stdin: &mut dyn Read) -> Result<Self, TrafficError> {
        let mut traffic = Self::default();
        if files.is_empty() {
            let mut text = String::new();
            stdin
                .read_to_string(&mut text)
                .map_err(|source| TrafficError::Read { name: "stdin".to_owned(), source })?;
            traffic.take(&text, "stdin")?;
        }
        for file in files {
            let name = file.display().to_string();
            let text = read(file).map_err(|source| TrafficError::Read { name: name.clone(), source })?;
            traffic.take(&text, &name)?;
        }
        Ok(traffic)
    }

    fn take(&mut self, text: &str, name: &str) -> Result<(), TrafficError> {
        if let Ok(har) = serde_json::from_str::<Har>(text) {
            for entry in har.log.entries {
                let seen = entry.seen();
                self.put(seen);
            }
            return Ok(());
        }
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = serde_json::from_str(line).map_err(|source| TrafficError::Line {
                name: name.to_owned(),
                line: index + 1,
                source,
            })?;
            if let Record::Exchange(record) = record {
                self.put(from_record(&record));
            }
        }
        Ok(())
    }

    fn put(&mut self, seen: Option<Seen>) {
        match seen {
            Some(seen) => self.seen.push(seen),
            None => self.aside += 1,
        }
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    fs::read_to_string(file)
}

fn from_record(record: &ExchangeRecord<'_>) -> Option<Seen> {
    let scheme = if record.scheme == "http" { Scheme::Http } else { Scheme::Https };
    Some(Seen {
        scheme,
        authority: Authority::parse(&format!("{}:{}", record.host, record.port), scheme.default_port()).ok()?,
        method: record.method.clone().into_owned(),
        target: record.path.as_ref().map(|path| path.clone().into_owned()),
        fields: HeaderMap::new(),
        then: then(record)?,
        credential: record.credential.as_ref().map(|name| name.clone().into_owned()),
    })
}

/// A rule means that the table granted it, whatever became of it then.
fn then(record: &ExchangeRecord<'_>) -> Option<Then> {
    if record.alarm || record.outcome == Outcome::Blocked {
        return None;
    }
    match (&record.rule, record.by.as_deref()) {
        (Some(_), _) => Some(Then::Granted),
        (None, Some("policy")) => Some(Then::Refused),
        _ => None,
    }
}

/// A HAR (version 1.2), as far as it is read: ours, a browser's or any other.
#[derive(Debug, Deserialize)]
struct Har {
    log: Log,
}

#[derive(Debug, Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    request: Request,
    /// Ours say what was decided.
    #[serde(rename = "_record")]
    record: Option<ExchangeRecord<'static>>,
}

#[derive(Debug, Deserialize)]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Field>,
}

#[derive(Debug, Deserialize)]
struct Field {
    name: String,
    value: String,
}

impl Entry {
    fn seen(self) -> Option<Seen> {
        if let Some(record) = &self.record {
            let mut seen = from_record(record)?;
            seen.fields = self.request.fields();
            return Some(seen);
        }
        let uri: Uri = self.request.url.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "https" | "wss" => Scheme::Https,
            "http" | "ws" => Scheme::Http,
            _ => return None,
        };
        Some(Seen {
            scheme,
            authority: Authority::parse(uri.authority()?.as_str(), scheme.default_port()).ok()?,
            target: Some(crate::target::path_and_query(&uri).to_string()),
            fields: self.request.fields(),
            method: self.request.method,
            // Nobody refused what a browser wrote down.
            then: Then::Granted,
            credential: None,
        })
    }
}

impl Request {
    fn fields(&self) -> HeaderMap {
        let field = |field: &Field| {
            let name: HeaderName = field.name.parse().ok()?;
            Some((name, HeaderValue::from_str(&field.value).ok()?))
        };
        self.headers.iter().filter_map(field).collect()
    }
}

/// Traffic that cannot be read.
#[derive(Debug, Error)]
pub enum TrafficError {
    #[error("line {line} of {name} is no record, and the whole is no HAR")]
    Line { name: String, line: usize, source: serde_json::Error },
    #[error("{name} cannot be read")]
    Read { name: String, source: std::io::Error },
}

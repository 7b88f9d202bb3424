//! What happens to the process, one line each on stderr: `noun.past_participle` and fields. JSON, or words where the log
//! is for people. A client can never cause one.

use std::io::Write;

use serde_json::{Map, Value};

/// How events look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Events {
    Json,
    Words,
}

impl Events {
    /// Writes one event. A stderr that cannot be written has nobody to tell.
    pub fn tell(self, event: &str, fields: &[(&str, Value)]) {
        let line = match self {
            Self::Json => {
                let mut object = Map::new();
                object.insert("event".to_owned(), event.into());
                object.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                Value::Object(object).to_string()
            }
            Self::Words => {
                let fields = fields.iter().map(|(name, value)| match value {
                    Value::String(text) => format!(" {name}={text}"),
                    other => format!(" {name}={other}"),
                });
                format!("{event}{}", fields.collect::<String>())
            }
        };
        let _unwritable = writeln!(std::io::stderr().lock(), "{line}");
    }
}

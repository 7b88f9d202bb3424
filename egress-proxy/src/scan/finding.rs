//! What the scan says when it found something. Nothing here can show what was found.

use std::fmt;

use http::HeaderName;
use scan_rules::GUARDED;

/// Something that must not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description} (rule `{rule}`) in {place}{}", Undone(.layers))]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// What the rule finds.
    pub description: String,
    pub place: Place,
    /// What had to be undone to see it, outermost first.
    pub layers: Vec<Layer>,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Method,
    Authority,
    Path,
    Query,
    /// In the name of a field, which is not repeated here.
    FieldName,
    Field(HeaderName),
    /// At this byte of the content as sent (of what a content coding unfolds to, where there is one).
    Content(u64),
    TrailerName,
    Trailer(HeaderName),
}

/// One encoding that was undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    AwsChunked,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
    Json,
    Percent,
    Base64,
    Hex,
    Utf16,
}

/// The rule of contents that cannot be judged.
pub(super) const UNREADABLE: &str = "unreadable-content";

/// What the ids of rules for the proxy's own values begin with.
pub(super) const CREDENTIAL: &str = GUARDED[0];
pub(super) const STAND_IN: &str = GUARDED[1];

/// Whether the rule of this id is for a value of the proxy's own.
pub(super) fn is_guarded(rule: &str) -> bool {
    GUARDED.iter().any(|kind| rule.starts_with(kind))
}

impl Finding {
    /// Whether a value of the proxy's own was found, a credential or a stand-in: no mode lets it pass.
    pub fn is_guarded_value(&self) -> bool {
        is_guarded(&self.rule)
    }

    /// What whoever sent it can do.
    pub fn remedy(&self) -> String {
        match self.rule.as_str() {
            UNREADABLE => "Send it as it is, or coded with gzip, deflate, br or zstd alone; else ask the operator for \
                           `scan: off` on this route."
                .to_owned(),
            _ if self.is_guarded_value() => {
                "Take it out of the request: the proxy adds credentials where they belong.".to_owned()
            }
            rule => format!(
                "Take it out of the request; if it is no secret, ask the operator for `scan_except: [{rule}]` on this route."
            ),
        }
    }

    /// The way to it: `content > json > base64`.
    pub fn chain(&self) -> String {
        let mut chain = self.place.part().to_owned();
        for layer in &self.layers {
            chain.push_str(" > ");
            chain.push_str(layer.name());
        }
        chain
    }
}

impl Place {
    /// The part of the message, without the spot in it.
    pub fn part(&self) -> &'static str {
        match self {
            Place::Method => "method",
            Place::Authority => "authority",
            Place::Path => "path",
            Place::Query => "query",
            Place::FieldName => "field name",
            Place::Field(_) => "field",
            Place::Content(_) => "content",
            Place::TrailerName => "trailer name",
            Place::Trailer(_) => "trailer",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Method | Place::Authority | Place::Path | Place::Query => {
                write!(f, "the {}", self.part())
            }
            Place::FieldName | Place::TrailerName => write!(f, "a {}", self.part()),
            Place::Field(name) => write!(f, "the field `{name}`"),
            Place::Trailer(name) => write!(f, "the trailer `{name}`"),
            Place::Content(byte) => write!(f, "the content, byte {byte}"),
        }
    }
}

impl Layer {
    pub fn name(self) -> &'static str {
        match self {
            Layer::AwsChunked => "aws-chunked",
            Layer::Gzip => "gzip",
            Layer::Deflate => "deflate",
            Layer::Brotli => "br",
            Layer::Zstd => "zstd",
            Layer::Json => "json",
            Layer::Percent => "percent",
            Layer::Base64 => "base64",
            Layer::Hex => "hex",
            Layer::Utf16 => "utf-16",
        }
    }
}

struct Undone<'a>(&'a [Layer]);

impl fmt::Display for Undone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.0.iter().enumerate() {
            let sign = if index == 0 { ", encoded as " } else { " > " };
            write!(f, "{sign}{}", layer.name())?;
        }
        Ok(())
    }
}

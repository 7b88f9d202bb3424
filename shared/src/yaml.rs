//! YAML read with the place of every value, so that one pass reports all errors of a file, each with line, column, caret
//! and a hint. JSON is YAML too. Never reads a file and never stops at the first error.

use std::fmt;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

/// One error in a file, with its place. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    pub line: usize,
    pub column: usize,
    /// Characters to underline; at least 1.
    pub length: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl Diagnostic {
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All errors found in one file so far, in the order in which they were found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// The errors together with the file they are about, ready to be shown.
    pub fn report(mut self, file: impl Into<String>, text: &str) -> Report {
        self.found.sort_by_key(|d| (d.line, d.column));
        Report { file: file.into(), lines: text.lines().map(str::to_owned).collect(), diagnostics: self }
    }
}

/// The errors of one file, rendered by `Display` with source line and caret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    file: String,
    lines: Vec<String>,
    diagnostics: Diagnostics,
}

impl Report {
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let Diagnostic { line, column, length, message, hint } = diagnostic;
            write!(f, "{}:{line}:{column}: {message}", self.file)?;
            if let Some(text) = self.lines.get(line.saturating_sub(1)) {
                let gutter = line.to_string();
                let blank = " ".repeat(gutter.len());
                let indent = " ".repeat(column.saturating_sub(1));
                write!(f, "\n {blank} |\n {gutter} | {text}\n {blank} | {indent}{}", "^".repeat(*length))?;
            }
            if let Some(hint) = hint {
                write!(f, "\n hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// A parsed document. `first_line` is the line of the file at which `text` starts, for frontmatter.
#[derive(Debug)]
pub struct Document<'t> {
    root: Option<MarkedYaml<'t>>,
    first_line: usize,
}

impl<'t> Document<'t> {
    /// # Errors
    /// The first place at which the text is not YAML, or holds more than one document.
    pub fn parse(text: &'t str, first_line: usize) -> Result<Self, Diagnostic> {
        let offset = first_line.saturating_sub(1);
        let mut documents = MarkedYaml::load_from_str(text).map_err(|error| Diagnostic {
            line: error.marker().line() + offset,
            column: error.marker().col() + 1,
            length: 1,
            message: format!("not valid YAML: {}", error.info()),
            hint: None,
        })?;
        if documents.len() > 1 {
            let second = documents[1].span.start;
            return Err(Diagnostic {
                line: second.line() + offset,
                column: second.col() + 1,
                length: 1,
                message: "a second YAML document".to_owned(),
                hint: Some("keep one document a file; remove the line `---` before this one".to_owned()),
            });
        }
        Ok(Self { root: documents.pop(), first_line })
    }

    /// The top of the document; `None` where it is empty.
    pub fn root(&self) -> Option<Node<'_, 't>> {
        self.root.as_ref().map(|yaml| Node { yaml, offset: self.first_line.saturating_sub(1) })
    }
}

/// A value with its place.
#[derive(Clone, Copy, Debug)]
pub struct Node<'d, 't> {
    yaml: &'d MarkedYaml<'t>,
    offset: usize,
}

/// A decoded value that remembers where it stood, for errors found later.
#[derive(Clone, Debug)]
pub struct Located<T> {
    pub value: T,
    pub line: usize,
    pub column: usize,
    pub length: usize,
}

impl<T> Located<T> {
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic { line: self.line, column: self.column, length: self.length, message: message.into(), hint: None }
    }
}

impl<'d, 't> Node<'d, 't> {
    pub fn line(&self) -> usize {
        self.yaml.span.start.line() + self.offset
    }

    pub fn column(&self) -> usize {
        self.yaml.span.start.col() + 1
    }

    /// An error at this value.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            line: self.line(),
            column: self.column(),
            length: self.length(),
            message: message.into(),
            hint: None,
        }
    }

    pub fn locate<T>(&self, value: T) -> Located<T> {
        Located { value, line: self.line(), column: self.column(), length: self.length() }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.yaml.data, YamlData::Value(Scalar::Null))
    }

    /// The text of a string. Numbers and booleans are not strings: `"443"` is, `443` is not.
    pub fn text(&self, log: &mut Diagnostics) -> Option<&'d str> {
        match &self.yaml.data {
            YamlData::Value(Scalar::String(text)) => Some(text),
            _ => self.unexpected("a string", log),
        }
    }

    pub fn boolean(&self, log: &mut Diagnostics) -> Option<bool> {
        match &self.yaml.data {
            YamlData::Value(Scalar::Boolean(value)) => Some(*value),
            _ => self.unexpected("`true` or `false`", log),
        }
    }

    /// A boolean, or nothing where the value is something else; nothing is reported.
    pub fn as_boolean(&self) -> Option<bool> {
        match &self.yaml.data {
            YamlData::Value(Scalar::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    /// A string, or nothing where the value is something else; nothing is reported.
    pub fn as_text(&self) -> Option<&'d str> {
        match &self.yaml.data {
            YamlData::Value(Scalar::String(text)) => Some(text),
            _ => None,
        }
    }

    pub fn integer(&self, log: &mut Diagnostics) -> Option<i64> {
        match &self.yaml.data {
            YamlData::Value(Scalar::Integer(value)) => Some(*value),
            _ => self.unexpected("a whole number", log),
        }
    }

    pub fn list(&self, log: &mut Diagnostics) -> Option<Vec<Node<'d, 't>>> {
        match &self.yaml.data {
            YamlData::Sequence(items) => Some(items.iter().map(|yaml| Node { yaml, offset: self.offset }).collect()),
            _ => self.unexpected("a list", log),
        }
    }

    /// A list of strings; items that are none are reported and left out.
    pub fn texts(&self, log: &mut Diagnostics) -> Option<Vec<Located<String>>> {
        let items = self.list(log)?;
        Some(items.iter().filter_map(|item| Some(item.locate(item.text(log)?.to_owned()))).collect())
    }

    pub fn map(&self, log: &mut Diagnostics) -> Option<Map<'d, 't>> {
        let YamlData::Mapping(entries) = &self.yaml.data else {
            return self.unexpected("a mapping", log);
        };
        let mut map = Map { node: *self, entries: Vec::with_capacity(entries.len()), asked: Vec::new() };
        for (key, value) in entries {
            let key = Node { yaml: key, offset: self.offset };
            if let Some(name) = key.text(log) {
                map.entries.push(Entry { name, key, value: Node { yaml: value, offset: self.offset } });
            }
        }
        Some(map)
    }

    /// What this value is, in words for an error.
    pub fn kind(&self) -> &'static str {
        match &self.yaml.data {
            YamlData::Value(Scalar::Null) => "nothing",
            YamlData::Value(Scalar::String(_)) => "a string",
            YamlData::Value(Scalar::Boolean(_)) => "a boolean",
            YamlData::Value(Scalar::Integer(_) | Scalar::FloatingPoint(_)) => "a number",
            YamlData::Sequence(_) => "a list",
            YamlData::Mapping(_) => "a mapping",
            _ => "something else",
        }
    }

    fn unexpected<T>(&self, expected: &str, log: &mut Diagnostics) -> Option<T> {
        log.push(self.error(format!("expected {expected}, found {}", self.kind())));
        None
    }

    fn length(&self) -> usize {
        let (start, end) = (self.yaml.span.start, self.yaml.span.end);
        if start.line() == end.line() { end.col().saturating_sub(start.col()).max(1) } else { 1 }
    }
}

/// A mapping whose keys are asked for by name; what nobody asked for is unknown.
#[derive(Debug)]
pub struct Map<'d, 't> {
    node: Node<'d, 't>,
    entries: Vec<Entry<'d, 't>>,
    asked: Vec<&'static str>,
}

/// A key and its value.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'d, 't> {
    pub name: &'d str,
    pub key: Node<'d, 't>,
    pub value: Node<'d, 't>,
}

impl<'d, 't> Map<'d, 't> {
    pub fn node(&self) -> Node<'d, 't> {
        self.node
    }

    /// The value of `key`, where the file has it.
    pub fn take(&mut self, key: &'static str) -> Option<Node<'d, 't>> {
        self.take_entry(key).map(|entry| entry.value)
    }

    /// Key and value of `key`, where the file has it.
    pub fn take_entry(&mut self, key: &'static str) -> Option<Entry<'d, 't>> {
        self.asked.push(key);
        let index = self.entries.iter().position(|entry| entry.name == key)?;
        Some(self.entries.remove(index))
    }

    /// The value of `key`; its absence is reported.
    pub fn require(&mut self, key: &'static str, log: &mut Diagnostics) -> Option<Node<'d, 't>> {
        let value = self.take(key);
        if value.is_none() {
            let mut error = self.node.error(format!("missing key `{key}`"));
            error.length = 1;
            log.push(error);
        }
        value
    }

    /// Entries not asked for so far, for mappings with free keys.
    pub fn rest(&mut self) -> Vec<Entry<'d, 't>> {
        std::mem::take(&mut self.entries)
    }

    /// Reports every key that nobody asked for, with the nearest known one.
    pub fn finish(self, log: &mut Diagnostics) {
        for entry in self.entries {
            let error = entry.key.error(format!("unknown key `{}`", entry.name));
            log.push(error.with_hint(suggestion(entry.name, &self.asked)));
        }
    }
}

/// "did you mean …" for a word near a known one, otherwise the list of all known words.
pub fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            format!("known here: {}", known.join(", "))
        }
    }
}

/// The known word most like `word`, where one is near enough to be meant.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown_keys(text: &str) -> Report {
        let document = Document::parse(text, 1).unwrap();
        let mut log = Diagnostics::default();
        let mut map = document.root().unwrap().map(&mut log).unwrap();
        map.take("host");
        map.require("ports", &mut log);
        map.finish(&mut log);
        log.report("routes.yaml", text)
    }

    #[test]
    fn every_error_is_reported_with_its_place() {
        let report = unknown_keys("hots: a\nzzz: 1\n").to_string();
        assert_eq!(
            report,
            "routes.yaml:1:1: missing key `ports`\n   |\n 1 | hots: a\n   | ^\n\
             routes.yaml:1:1: unknown key `hots`\n   |\n 1 | hots: a\n   | ^^^^\n hint: did you mean `host`?\n\
             routes.yaml:2:1: unknown key `zzz`\n   |\n 2 | zzz: 1\n   | ^^^\n hint: known here: `host`, `ports`"
        );
    }

    #[test]
    fn a_repeated_key_is_an_error() {
        let error = Document::parse("a: 1\na: 2\n", 1).unwrap_err();
        assert_eq!((error.line, error.message.as_str()), (2, "not valid YAML: duplicated key in mapping"));
    }

    #[test]
    fn frontmatter_counts_lines_of_the_file() {
        assert_eq!(Document::parse("a: [1\n", 2).unwrap_err().line, 3);
        assert_eq!(Document::parse("a: 1\n", 2).unwrap().root().unwrap().line(), 2);
    }

    #[test]
    fn json_is_yaml_too() {
        let document = Document::parse(r#"{"routes": [{"host": "a.example"}]}"#, 1).unwrap();
        assert!(document.root().unwrap().map(&mut Diagnostics::default()).is_some());
    }
}

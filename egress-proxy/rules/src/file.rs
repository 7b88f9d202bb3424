//! A rules file: TOML in the format of gitleaks' configuration, with a few keys of our own.
//!
//! What cannot be supported is an error with its line, never ignored: a rule that its author believes in must work.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;

use super::{
    Allowlist, Case, Condition, Definition, Expression, Keyword, List, Structure, Target, Text,
    shape::{Closed, Shape, beginnings, parse},
};

/// Shorter keywords are completed.
const KEYWORD: usize = 4;
/// The most beginnings that may stand in for keywords.
const FEW: usize = 64;

/// A user's own rules, validated.
#[derive(Debug)]
pub struct RulesFile {
    /// Whether the built-in rules stay (`[extend] useDefault = true`).
    pub extends: bool,
    /// Built-in rules that the file turns off.
    pub disabled: Vec<String>,
    pub rules: Vec<Definition>,
}

/// Why a rules file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("cannot read the rules file `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}", Located(.0))]
    Invalid(Vec<Problem>),
}

impl RulesError {
    /// What is wrong with the file's text.
    pub fn problems(&self) -> &[Problem] {
        match self {
            RulesError::Read { .. } => &[],
            RulesError::Invalid(problems) => problems,
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug)]
pub struct Problem {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// The line of the file.
    pub text: String,
    pub message: String,
}

struct Located<'a>(&'a [Problem]);

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let Problem { file, line, column, text, message } = problem;
            let margin = line.to_string().len();
            writeln!(f, "{message}")?;
            writeln!(f, "{:margin$}--> {file}:{line}:{column}", "")?;
            writeln!(f, "{line} | {text}")?;
            write!(f, "{:margin$} | {:>column$}", "", "^")?;
        }
        Ok(())
    }
}

/// What the ids of rules for the proxy's own values begin with.
pub const GUARDED: [&str; 2] = ["credential/", "stand-in/"];

/// The keys of the file, as gitleaks documents them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    #[expect(dead_code, reason = "a label for people")]
    title: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "a label for people")]
    description: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "gitleaks' own version")]
    min_version: Option<String>,
    #[serde(default)]
    extend: Option<Extend>,
    #[serde(default)]
    rules: Vec<Spanned<RuleTable>>,
    #[serde(default)]
    allowlist: Option<Spanned<AllowlistTable>>,
    #[serde(default)]
    allowlists: Vec<Spanned<AllowlistTable>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extend {
    #[serde(default)]
    use_default: bool,
    #[serde(default)]
    path: Option<Spanned<String>>,
    #[serde(default)]
    url: Option<Spanned<String>>,
    #[serde(default)]
    disabled_rules: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleTable {
    id: Spanned<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    regex: Option<Spanned<String>>,
    #[serde(default)]
    path: Option<Spanned<String>>,
    #[serde(default)]
    keywords: Vec<Spanned<String>>,
    #[serde(default)]
    entropy: Option<f64>,
    #[serde(default)]
    secret_group: Option<Spanned<usize>>,
    #[serde(default)]
    #[expect(dead_code, reason = "labels for people")]
    tags: Vec<String>,
    #[serde(default)]
    allowlist: Option<Spanned<AllowlistTable>>,
    #[serde(default)]
    allowlists: Vec<Spanned<AllowlistTable>>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    check: Option<Structure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowlistTable {
    #[serde(default)]
    #[expect(dead_code, reason = "a label for people")]
    description: Option<String>,
    #[serde(default)]
    condition: Option<Spanned<String>>,
    #[serde(default)]
    regex_target: Option<Spanned<String>>,
    #[serde(default)]
    regexes: Vec<Spanned<String>>,
    #[serde(default)]
    stopwords: Vec<String>,
    #[serde(default)]
    paths: Vec<Spanned<String>>,
    #[serde(default)]
    commits: Vec<Spanned<String>>,
    #[serde(default)]
    target_rules: Vec<String>,
}

/// Whose file it is: what we ship is stricter about case and about where a match ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    Project,
    User,
}

impl RulesFile {
    /// Reads a user's file.
    ///
    /// # Errors
    /// As [`RulesFile::read`].
    pub fn own(path: &Path) -> Result<RulesFile, RulesError> {
        RulesFile::read(path, "user", Author::User)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or everything that is wrong with it.
    pub fn read(path: &Path, group: &str, author: Author) -> Result<RulesFile, RulesError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| RulesError::Read { path: path.to_owned(), source })?;
        RulesFile::parse(&path.display().to_string(), &text, group, author)
    }

    /// Reads rules from text; `name` is what errors call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str, group: &str, author: Author) -> Result<RulesFile, RulesError> {
        let mut reader = Reader { name, text, author, problems: Vec::new() };
        let document: Document = match toml::from_str(text) {
            Ok(document) => document,
            Err(error) => {
                reader.problem(error.span().unwrap_or(0..0), error.message());
                return Err(RulesError::Invalid(reader.problems));
            }
        };
        let file = reader.file(document, group);
        if reader.problems.is_empty() { Ok(file) } else { Err(RulesError::Invalid(reader.problems)) }
    }
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    author: Author,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn file(&mut self, document: Document, group: &str) -> RulesFile {
        let mut extends = false;
        let mut disabled = Vec::new();
        if let Some(extend) = document.extend {
            extends = extend.use_default;
            disabled = extend.disabled_rules;
            for place in [extend.path, extend.url].into_iter().flatten() {
                self.problem(place.span(), "only the built-in rules can be extended: put these rules into this file");
            }
        }
        let mut rules: Vec<Definition> = Vec::with_capacity(document.rules.len());
        for table in document.rules {
            let span = table.span();
            if let Some(rule) = self.rule(table.into_inner(), span, group) {
                rules.push(rule);
            }
        }
        for table in document.allowlists.into_iter().chain(document.allowlist) {
            let targets = table.get_ref().target_rules.clone();
            for rule in
                rules.iter_mut().filter(|rule| targets.is_empty() || targets.iter().any(|target| *target == rule.id))
            {
                rule.allowlists.to_mut().extend(self.allowlist(table.get_ref()));
            }
        }
        RulesFile { extends, disabled, rules }
    }

    fn rule(&mut self, table: RuleTable, span: Range<usize>, group: &str) -> Option<Definition> {
        let before = self.problems.len();
        if let Some(path) = &table.path {
            self.problem(path.span(), "a request has no file path: `path` cannot be supported");
        }
        let id = table.id.get_ref();
        if let Some(kind) = GUARDED.iter().find(|kind| id.starts_with(**kind)) {
            let message =
                format!("ids that begin with `{kind}` are for values of the proxy's own, which no route can exempt");
            self.problem(table.id.span(), &message);
        }
        let id = table.id.into_inner();
        let (expression, keywords) = match (table.regex, table.check) {
            (None, Some(Structure::Bip39)) => (None, Vec::new()),
            (None, _) => {
                self.problem(span, "the rule has no `regex`");
                return None;
            }
            (Some(regex), _) => {
                let keywords = table.keywords.iter().map(|keyword| self.keyword(keyword, regex.get_ref())).collect();
                let keywords = self.usable_keywords(keywords, &regex);
                let group = table.secret_group.filter(|group| *group.get_ref() > 0);
                (Some(self.expression(&regex, &keywords, group)?), keywords)
            }
        };
        let mut allowlists = Vec::new();
        for list in table.allowlists.iter().chain(&table.allowlist) {
            allowlists.extend(self.allowlist(list.get_ref()));
        }
        if self.problems.len() > before {
            return None;
        }
        Some(Definition {
            id: id.into(),
            description: table.description.into(),
            group: group.to_owned().into(),
            source: table.source.map(Text::from),
            check: table.check,
            expression,
            keywords: keywords.into(),
            entropy: table.entropy,
            allowlists: allowlists.into(),
        })
    }

    fn expression(
        &mut self,
        regex: &Spanned<String>,
        keywords: &[Keyword],
        group: Option<Spanned<usize>>,
    ) -> Option<Expression> {
        let hir = match parse(regex.get_ref()) {
            Ok(hir) => hir,
            Err(error) => {
                self.problem(regex.span(), &regex_problem(&error));
                return None;
            }
        };
        let groups = hir.properties().explicit_captures_len();
        if let Some(group) = group.as_ref().filter(|group| *group.get_ref() > groups) {
            self.problem(group.span(), &format!("the expression has no group {}", group.get_ref()));
        }
        let closed = match self.author {
            Author::Project => Closed::ByItsAlphabet,
            Author::User => Closed::AsWritten,
        };
        match Shape::of(&hir, keywords, closed) {
            Ok(shape) => {
                let text = regex.get_ref().clone().into();
                Some(Expression { text, group: group.map(Spanned::into_inner), shape })
            }
            Err(error) => {
                self.problem(regex.span(), &error.to_string());
                None
            }
        }
    }

    fn keyword(&self, keyword: &Spanned<String>, regex: &str) -> Keyword {
        let case = match self.author {
            Author::Project if !regex.starts_with("(?i)") => Case::Counts,
            _ => Case::Ignored,
        };
        Keyword { text: keyword.get_ref().clone().into_bytes().into(), case, completions: Vec::new() }
    }

    /// Keywords that are long enough to be looked for: short ones are completed by what the expression allows, missing
    /// ones taken from its beginning.
    fn usable_keywords(&mut self, mut keywords: Vec<Keyword>, regex: &Spanned<String>) -> Vec<Keyword> {
        if !keywords.is_empty() && keywords.iter().all(|keyword| keyword.text.len() >= KEYWORD) {
            return keywords;
        }
        // An expression that cannot be parsed is reported by whoever compiles it.
        let Ok(hir) = parse(regex.get_ref()) else { return keywords };
        let beginnings = beginnings(&hir, KEYWORD).unwrap_or_default();
        if keywords.is_empty() {
            if beginnings.is_empty() || beginnings.len() > FEW {
                self.problem(
                    regex.span(),
                    "the rule has no `keywords` and its expression does not begin with one: \
                     it would have to run over every byte",
                );
            }
            let keyword =
                |text: Box<[u8]>| Keyword { text: text.into_vec().into(), case: Case::Counts, completions: Vec::new() };
            return beginnings.into_iter().map(keyword).collect();
        }
        for keyword in keywords.iter_mut().filter(|keyword| keyword.text.len() < KEYWORD) {
            if keyword.case == Case::Counts {
                let completions = beginnings.iter().filter(|text| text.starts_with(&keyword.text));
                keyword.completions = completions.cloned().collect();
            }
            if keyword.completions.is_empty() && keyword.text.len() < KEYWORD - 1 {
                self.problem(regex.span(), "a keyword needs three bytes or more: shorter ones stand everywhere");
            }
        }
        keywords
    }

    fn allowlist(&mut self, table: &AllowlistTable) -> Option<Allowlist> {
        let before = self.problems.len();
        for path in table.paths.iter().chain(&table.commits) {
            self.problem(path.span(), "a request has neither file path nor commit: this cannot be supported");
        }
        let condition = match table.condition.as_ref().map(|condition| (condition.span(), condition.get_ref().as_str()))
        {
            None => Condition::Any,
            Some((_, word)) if word.eq_ignore_ascii_case("or") || word == "||" => Condition::Any,
            Some((_, word)) if word.eq_ignore_ascii_case("and") || word == "&&" => Condition::All,
            Some((span, _)) => {
                self.problem(span, "`condition` is `AND` or `OR`");
                Condition::Any
            }
        };
        let target = match table.regex_target.as_ref().map(|target| (target.span(), target.get_ref().as_str())) {
            None | Some((_, "secret" | "")) => Target::Secret,
            Some((_, "match")) => Target::Match,
            Some((_, "line")) => Target::Line,
            Some((span, _)) => {
                self.problem(span, "`regexTarget` is `secret`, `match` or `line`");
                Target::Secret
            }
        };
        for regex in &table.regexes {
            if let Err(error) = parse(regex.get_ref()) {
                self.problem(regex.span(), &regex_problem(&error));
            }
        }
        let expressions: List<Text> = table.regexes.iter().map(|regex| regex.get_ref().clone().into()).collect();
        let stopwords = table.stopwords.iter().map(|word| word.to_ascii_lowercase().into()).collect();
        (self.problems.len() == before).then_some(Allowlist { condition, target, expressions, stopwords })
    }

    fn problem(&mut self, span: Range<usize>, message: &str) {
        let start = span.start.min(self.text.len());
        let line = self.text[..start].matches('\n').count() + 1;
        let begin = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let text = self.text[begin..].lines().next().unwrap_or_default().to_owned();
        self.problems.push(Problem {
            file: self.name.to_owned(),
            line,
            column: self.text[begin..start].chars().count() + 1,
            text,
            message: message.to_owned(),
        });
    }
}

fn regex_problem(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => match error.kind() {
            regex_syntax::ast::ErrorKind::UnsupportedLookAround => {
                "look-arounds cannot be supported: they would need to read without bound".to_owned()
            }
            kind => format!("the regular expression cannot be used: {kind}"),
        },
        regex_syntax::Error::Translate(error) => {
            format!("the regular expression cannot be used: {}", error.kind())
        }
        other => format!("the regular expression cannot be used: {other}"),
    }
}

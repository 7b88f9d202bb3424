//! The scan's rules as data, and the patterns by which the places are found where one might match.
//!
//! Two programs use it. The proxy's build script reads the files beside this crate (`*.toml`), so that a broken rule stops
//! the build, and writes down what they say as constants, so that none costs anything at start. The proxy itself reads
//! a user's own file, and makes patterns of the credentials that it holds. Neither sees a content here: this crate knows
//! how a secret is looked for, never what is judged.

mod anchors;
mod encoding;
mod file;
mod patterns;
mod rarity;
mod shape;
mod signs;

use std::{borrow::Cow, path::Path};

use serde::Deserialize;

pub use self::{
    anchors::{Anchor, anchors},
    encoding::{Endian, LONGEST, Step, Steps},
    file::{Author, GUARDED, Problem, RulesError, RulesFile},
    patterns::{Builder, Hit, Packed, Patterns, Sieve},
    shape::{ByteSet, Shape, Start, parse},
    signs::{AHEAD, Ground, PHRASE_BLOCK, PHRASE_STRIDE, REACH, Run, is_block_of_phrase, is_near_sign},
};

/// How many encodings may lie on top of each other.
pub const DEPTH: usize = 2;
/// The longest match: what does not fit is judged by what does.
pub const LONGEST_MATCH: usize = 3800;

/// A constant, or made while the proxy runs.
pub type Text = Cow<'static, str>;
pub type List<T> = Cow<'static, [T]>;

/// The kinds of service whose rules we ship: each is a file of this name.
pub const GROUPS: [&str; 10] = [
    "cloud",
    "source-hosting",
    "model-providers",
    "packages",
    "chat",
    "payment",
    "observability",
    "databases",
    "keys",
    "wallets",
];

/// The ids of the rules that we ship, for programs that only need to know a name: the files' own lines.
pub fn shipped_ids() -> impl Iterator<Item = &'static str> {
    const FILES: [&str; GROUPS.len()] = [
        include_str!("../cloud.toml"),
        include_str!("../source-hosting.toml"),
        include_str!("../model-providers.toml"),
        include_str!("../packages.toml"),
        include_str!("../chat.toml"),
        include_str!("../payment.toml"),
        include_str!("../observability.toml"),
        include_str!("../databases.toml"),
        include_str!("../keys.toml"),
        include_str!("../wallets.toml"),
    ];
    FILES.into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("id = \"")?.strip_suffix('"'))
}

/// One format of secrets, as its file defines it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name, as in findings and exemptions.
    pub id: Text,
    /// What it finds, in words.
    pub description: Text,
    /// What kind of service its secrets belong to.
    pub group: Text,
    /// Where the format is documented.
    pub source: Option<Text>,
    /// What is checked besides the expression.
    pub check: Option<Structure>,
    /// `None` for what no expression can describe.
    pub expression: Option<Expression>,
    pub keywords: List<Keyword>,
    pub entropy: Option<f64>,
    pub allowlists: List<Allowlist>,
}

/// A regular expression, what its matches look like, and which part of them is the secret.
#[derive(Clone, Debug)]
pub struct Expression {
    pub text: Text,
    /// The group that is the secret; without one the first that matched, or everything.
    pub group: Option<usize>,
    pub shape: Shape,
}

/// A literal without which a rule cannot match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keyword {
    pub text: Cow<'static, [u8]>,
    pub case: Case,
    /// What a keyword that is too short to be looked for may begin with.
    pub completions: Vec<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    Counts,
    Ignored,
}

/// What a match must not be, or not hold.
#[derive(Clone, Debug)]
pub struct Allowlist {
    pub condition: Condition,
    pub target: Target,
    pub expressions: List<Text>,
    /// In lower case.
    pub stopwords: List<Text>,
}

/// Whether expressions and stopwords must both agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Any,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Secret,
    Match,
    Line,
}

/// What is checked of a secret besides its expression; in a rules file `check = "github-crc32"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// The last six characters are the CRC-32 of those before them (after the prefix), in base 62.
    GithubCrc32,
    /// The header decodes to a JSON object that names an algorithm.
    JwtHeader,
    /// The frame's first lines decode to the begin of a private key.
    PrivateKey,
    /// Base64 of `user:password`.
    BasicCredentials,
    /// A password that somebody chose or generated, not a word that stands for one.
    Password,
    /// Letters and digits, as no word or path is made of.
    MixedCharacters,
    /// Base 58 whose last four bytes are a double SHA-256 of the rest.
    Base58check,
    /// Words of BIP-39's list with its checksum.
    Bip39,
}

impl Definition {
    /// Where its keywords are looked for.
    pub fn ground(&self) -> Ground {
        self.expression.as_ref().map_or(Ground::EverywhereInAnyForm, |expression| expression.shape.ground)
    }

    /// The most bytes after its keyword that a match may need.
    pub fn longest(&self) -> usize {
        self.expression.as_ref().map_or(0, |expression| expression.shape.longest)
    }
}

/// The rules that we ship, read from the files in `directory`.
///
/// # Errors
/// A file cannot be read, or everything that is wrong with it; a rule that is there twice or could not be found.
pub fn shipped(directory: &Path) -> Result<Vec<Definition>, RulesError> {
    let mut rules = Vec::new();
    for group in GROUPS {
        let path = directory.join(group).with_extension("toml");
        rules.extend(RulesFile::read(&path, group, Author::Project)?.rules);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_are_those_of_the_rules() {
        let rules = shipped(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the rules are valid");
        let ids: Vec<&str> = rules.iter().map(|rule| &*rule.id).collect();
        assert_eq!(shipped_ids().collect::<Vec<_>>(), ids);
    }
}

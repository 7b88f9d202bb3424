//! The rules that we ship, by kind of service; see `egress-proxy/rules/`.

use std::sync::{Arc, LazyLock};

use super::{
    Rule,
    file::{Author, RulesFile},
};

macro_rules! groups {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../rules/", $name, ".toml")))),*]
    };
}

/// Name and text of each file.
const GROUPS: &[(&str, &str)] = groups![
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

/// All built-in rules, parsed once.
pub(in crate::scan) fn builtin() -> &'static [Arc<Rule>] {
    static RULES: LazyLock<Vec<Arc<Rule>>> = LazyLock::new(|| {
        let mut rules = Vec::new();
        for (group, text) in GROUPS {
            // A broken file of ours cannot be shipped: `the_built_in_rules_are_valid` reads them all.
            if let Ok(file) = RulesFile::parse(group, text, group, Author::Project) {
                rules.extend(file.rules.into_iter().map(Arc::new));
            }
        }
        rules
    });
    &RULES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_are_valid() {
        let mut ids = std::collections::BTreeSet::new();
        for (group, text) in GROUPS {
            match RulesFile::parse(group, text, group, Author::Project) {
                Ok(file) => {
                    for rule in file.rules {
                        let keyed =
                            !rule.keywords.is_empty() || matches!(rule.matcher, super::super::Matcher::SeedPhrase);
                        assert!(keyed, "{} has no keyword", rule.id);
                        assert!(ids.insert(rule.id.clone()), "{} is there twice", rule.id);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

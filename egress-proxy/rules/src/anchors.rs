//! What stands behind the patterns: keywords, each once, and the rules that need it.

use std::{borrow::Cow, collections::HashMap};

use super::{Builder, Ground, Keyword, List};

/// A keyword, and what is to be asked where it stands.
#[derive(Clone, Debug)]
pub struct Anchor {
    pub keyword: Keyword,
    /// Where in the keyword the part begins that is looked for.
    pub core: usize,
    /// Where it is looked for: as one of the rules needs it.
    pub ground: Ground,
    /// The rules that need this keyword.
    pub rules: List<usize>,
}

/// The anchors of rules that are numbered from `first` on, by their keywords and where these are looked for, and what makes
/// the patterns that find them.
pub fn anchors<'a>(first: usize, rules: impl Iterator<Item = (&'a [Keyword], Ground)>) -> (Vec<Anchor>, Builder) {
    let mut anchors: Vec<Anchor> = Vec::new();
    let mut known = HashMap::new();
    for (rule, (keywords, ground)) in rules.enumerate() {
        for keyword in keywords {
            let place = *known.entry((&keyword.text, keyword.case)).or_insert_with(|| {
                let keyword = Keyword { completions: Vec::new(), ..keyword.clone() };
                anchors.push(Anchor { keyword, core: 0, ground, rules: Cow::Borrowed(&[]) });
                anchors.len() - 1
            });
            let anchor = &mut anchors[place];
            anchor.ground = anchor.ground.max(ground);
            anchor.rules.to_mut().push(first + rule);
            anchor.keyword.completions.extend(keyword.completions.iter().cloned());
        }
    }
    let mut builder = Builder::default();
    for anchor in &mut anchors {
        anchor.core = builder.add(&anchor.keyword, anchor.ground);
    }
    (anchors, builder)
}

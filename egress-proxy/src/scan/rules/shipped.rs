//! The rules that we ship, as the build wrote them down (`build.rs`, from `egress-proxy/rules/*.toml`): constants of the
//! program, which cost nothing before they are used.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use scan_rules::{
    Anchor, ByteSet, Case, Definition, Expression, Ground, Keyword, Packed, Patterns, Run, Shape, Sieve, Start,
    Structure,
};

use super::Rule;

mod written {
    use super::*;

    include!(concat!(env!("OUT_DIR"), "/shipped.rs"));
}

static RECORDS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/records"));

/// All of them; what is compiled of a rule is shared by everybody who asks it.
pub(in crate::scan) fn rules() -> &'static [Arc<Rule>] {
    static RULES: LazyLock<Vec<Arc<Rule>>> =
        LazyLock::new(|| written::RULES.iter().map(|rule| Arc::new(Rule::of(Cow::Borrowed(rule)))).collect());
    &RULES
}

pub(in crate::scan) fn anchors() -> &'static [Anchor] {
    &written::ANCHORS
}

pub(in crate::scan) fn patterns() -> Patterns {
    let packed = Packed {
        bits: written::BITS,
        starts: Cow::Borrowed(&written::STARTS),
        entries: Cow::Borrowed(&written::ENTRIES),
        records: Cow::Borrowed(RECORDS),
        everywhere: Cow::Borrowed(&written::EVERYWHERE),
        keywords: written::ANCHORS.len() as u32,
        gap: 1,
    };
    Patterns::shipped(packed, &written::SIEVE)
}

//! A rule's regular expression: compiled when it is first asked, tried only where a keyword stands.

use std::{ops::Range, sync::OnceLock};

use regex_automata::{Anchored, Input, meta};
use scan_rules::{Expression, Start, parse};

/// An expression's machine, once it was needed. Its definition was read when the proxy was built, or when the user's file
/// was: what cannot be compiled is not in a rule.
#[derive(Default)]
pub(super) struct Machine(OnceLock<Option<meta::Regex>>);

impl Machine {
    fn of(&self, text: &str) -> Option<&meta::Regex> {
        self.0.get_or_init(|| compile(text)).as_ref()
    }

    /// Whether the expression matches anywhere.
    pub(super) fn is_match(&self, text: &str, content: &[u8]) -> bool {
        self.of(text).is_some_and(|regex| regex.is_match(content))
    }

    /// The next match at or after `from` (exactly there when it must begin with the keyword), and the secret in it.
    pub(super) fn next(
        &self,
        expression: &Expression,
        text: &[u8],
        from: usize,
    ) -> Option<(Range<usize>, Range<usize>)> {
        let shape = &expression.shape;
        let regex = self.of(&expression.text)?;
        let (anchored, span) = match shape.start {
            Start::AtKeyword => (Anchored::Yes, from..text.len().min(from + shape.longest + 1)),
            Start::Around => (Anchored::No, from..text.len().min(from.saturating_add(2 * shape.longest + 64))),
        };
        let mut captures = regex.create_captures();
        let mut from = span.start;
        loop {
            let input = Input::new(text).range(from..span.end).anchored(anchored);
            regex.search_captures(&input, &mut captures);
            let whole = captures.get_match()?.range();
            let grows = shape.tail.zip(text.get(whole.end)).is_some_and(|(tail, next)| tail.has(*next));
            if !grows {
                let secret = match expression.group {
                    Some(group) => captures.get_group(group),
                    None => (1..captures.group_len()).find_map(|group| captures.get_group(group)),
                };
                return Some((whole.clone(), secret.map_or(whole, |span| span.range())));
            }
            if anchored == Anchored::Yes {
                return None;
            }
            from = whole.start + 1;
        }
    }
}

/// Small before fast: a rule reads some hundred bytes at a time, and there are many rules.
fn compile(text: &str) -> Option<meta::Regex> {
    let hir = parse(text).ok()?;
    let config = meta::Config::new().utf8_empty(false).auto_prefilter(false).onepass_size_limit(Some(16 << 10));
    meta::Builder::new().configure(config).build_from_hir(&hir).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_that_we_ship_can_be_compiled() {
        for rule in super::super::shipped::rules() {
            let allowed = rule.definition.allowlists.iter().flat_map(|list| list.expressions.iter());
            for text in rule.definition.expression.iter().map(|expression| &expression.text).chain(allowed) {
                assert!(compile(text).is_some(), "{}", rule.id());
            }
        }
    }
}

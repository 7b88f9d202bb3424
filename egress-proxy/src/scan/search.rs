//! A closer look at the places that the anchors found: undoes what hides the keyword and asks its rules.

use scan_rules::{Case, DEPTH, Ground, Hit, Keyword, PHRASE_STRIDE, Steps, is_near_sign};

use super::{
    Anchor, Exemptions, Layer, Rule, Scanner,
    encoding::{LEFT, layer, undo},
    escape::Escape,
    rules::structure::seed,
};

/// How far before a keyword a rule may look.
pub(super) const BEFORE: usize = 512;
/// So many bytes from a keyword on tell whether it is worth to look closer.
const GLANCE: usize = 28;
/// So many bytes from its begin on are all that a glance at a hit may read.
pub(super) const GLIMPSE: usize = 4 * GLANCE + 16;
/// How far before a keyword escapes are undone.
const ESCAPED_BEFORE: usize = 128;

/// What was found, and where in the text that was searched.
#[derive(Debug)]
pub(super) struct Match {
    pub rule: usize,
    pub at: usize,
    pub layers: Vec<Layer>,
}

/// The layers that were undone on the way, and how many more may be.
#[derive(Clone, Copy)]
struct Trail {
    layers: [Option<Layer>; DEPTH],
    used: usize,
}

impl Trail {
    const EMPTY: Trail = Trail { layers: [None; DEPTH], used: 0 };

    fn and(mut self, layer: Layer) -> Option<Trail> {
        *self.layers.get_mut(self.used)? = Some(layer);
        self.used += 1;
        Some(self)
    }

    fn layers(self) -> Vec<Layer> {
        self.layers.into_iter().flatten().collect()
    }

    fn spare(self) -> usize {
        DEPTH - self.used
    }
}

impl Scanner {
    /// Searches a short text that is wholly there, as written and unescaped.
    pub(super) fn search(&self, text: &[u8], except: &Exemptions) -> Option<Match> {
        self.search_part(text, text.len(), except, Trail::EMPTY)
    }

    /// The places of a text at which anything might be found; where there are none, [`Scanner::search`] finds nothing.
    pub(super) fn candidates(&self, text: &[u8], mut found: impl FnMut(usize)) {
        self.patterns.sweep(text, 0, text.len(), |hit| found(hit.at));
        for escape in Escape::ALL {
            memchr::memchr_iter(escape.mark(), text).for_each(&mut found);
        }
        if self.seeds.is_some() {
            (0..text.len()).step_by(PHRASE_STRIDE).filter(|at| seed::may_be_in_phrase(text, *at)).for_each(&mut found);
        }
    }

    /// Searches around an escape that may hide a part of a keyword: only what begins before `upto`; the rest of `text`
    /// is there to be read.
    pub(super) fn search_escaped(
        &self,
        text: &[u8],
        upto: usize,
        escape: Escape,
        except: &Exemptions,
    ) -> Option<Match> {
        self.unescape(text, upto, escape, except, Trail::EMPTY)
    }

    fn search_part(&self, text: &[u8], upto: usize, except: &Exemptions, trail: Trail) -> Option<Match> {
        let mut hits = Vec::new();
        self.patterns.sweep(text, 0, upto, |hit| hits.extend((hit.pattern != Hit::ESCAPE).then_some(hit)));
        hits.sort_unstable();
        for hit in hits {
            if let Some(found) = self.examine_with(text, hit, except, trail) {
                return Some(found);
            }
        }
        if self.seeds.is_some() {
            for at in (0..upto).step_by(PHRASE_STRIDE) {
                if seed::may_be_in_phrase(text, at)
                    && let Some(found) = self.seed_phrase(text, at, except)
                {
                    return Some(Match { layers: trail.layers(), ..found });
                }
            }
        }
        Escape::ALL.into_iter().find_map(|escape| self.unescape(text, upto, escape, except, trail))
    }

    fn unescape(&self, text: &[u8], upto: usize, escape: Escape, except: &Exemptions, trail: Trail) -> Option<Match> {
        memchr::memchr(escape.mark(), text)?;
        let trail = trail.and(escape.layer())?;
        let mut plain = Vec::with_capacity(text.len());
        escape.undo(&text[..upto], &mut plain);
        let begun = plain.len();
        escape.undo(&text[upto..], &mut plain);
        if plain.len() == text.len() {
            return None;
        }
        self.search_part(&plain, begun, except, trail)
    }

    /// Whether the rules need to be asked at a hit: a quick answer for most.
    pub(super) fn is_worth_a_look(&self, text: &[u8], hit: Hit, except: &Exemptions) -> bool {
        let (keyword, steps) = self.patterns.found(hit);
        let start = hit.at.saturating_sub(BEFORE);
        let end = text.len().min(hit.at + GLIMPSE.max(2 * self.anchors[keyword].longest));
        Look { scanner: self, keyword, except }.glance(&text[start..end], hit.at - start, steps)
    }

    /// Asks the rules at a hit in a content that is there as far as they may read, and as far as signs reach.
    pub(super) fn examine(&self, text: &[u8], hit: Hit, except: &Exemptions) -> Option<Match> {
        let (keyword, steps) = self.patterns.found(hit);
        let is_looked_for = match self.anchors[keyword].ground {
            Ground::EverywhereInAnyForm => true,
            Ground::Everywhere if steps.depth() == 0 => true,
            // Where a sweep found it depends on more than the bytes.
            Ground::Everywhere | Ground::NearSigns => is_near_sign(text, hit.at),
        };
        if is_looked_for { self.examine_with(text, hit, except, Trail::EMPTY) } else { None }
    }

    fn examine_with(&self, text: &[u8], hit: Hit, except: &Exemptions, trail: Trail) -> Option<Match> {
        let (keyword, steps) = self.patterns.found(hit);
        let reach = self.anchors[keyword].reach;
        let start = hit.at.saturating_sub(BEFORE);
        let end = text.len().min(hit.at + reach);
        let look = Look { scanner: self, keyword, except };
        if !self.is_worth_a_look(text, hit, except) {
            return None;
        }
        let mut found = look.at(&text[start..end], hit.at - start, steps, trail)?;
        found.at = if found.layers.is_empty() { found.at + start } else { hit.at };
        Some(found)
    }
}

/// One look at one keyword.
struct Look<'a> {
    scanner: &'a Scanner,
    keyword: usize,
    except: &'a Exemptions,
}

impl Look<'_> {
    /// Whether it is worth to look closer: undoes no more than a few bytes.
    fn glance(&self, text: &[u8], at: usize, steps: Steps) -> bool {
        let Some((step, rest)) = steps.split_first() else { return self.may_begin(text, at) };
        // An escape within the encoded text is for the closer look.
        let near = &text[at..text.len().min(at + 4 * GLANCE)];
        if holds_escape(near) {
            return true;
        }
        let room = if rest.depth() == 0 { GLANCE } else { 2 * GLANCE };
        let left = 4 * self.scanner.anchors[self.keyword].core + 8;
        undo(step, text, at, left, room).is_some_and(|(plain, at)| self.glance(&plain, at, rest))
    }

    fn may_begin(&self, text: &[u8], at: usize) -> bool {
        let anchor = &self.scanner.anchors[self.keyword];
        let keyword = &anchor.keyword;
        let before = &text[at.saturating_sub(6 * anchor.core)..at];
        if holds_escape(before) {
            return true;
        }
        let Some(start) = at.checked_sub(anchor.core) else { return false };
        // A byte or two as a rule: a call to compare them would cost more.
        let mut pairs = text[start..at].iter().zip(&keyword.text[..anchor.core]);
        let same = match keyword.case {
            Case::Counts => pairs.all(|(there, byte)| there == byte),
            Case::Ignored => pairs.all(|(there, byte)| there.eq_ignore_ascii_case(byte)),
        };
        same && self.asked(anchor).any(|(_, rule)| {
            rule.may_begin(text, start) && !rule.lacks_run(text, start) && !rule.lacks_sign(text, start)
        })
    }

    /// `at` is where the keyword stands in `text`, or the pattern that hides it under `steps`.
    fn at(&self, text: &[u8], at: usize, steps: Steps, trail: Trail) -> Option<Match> {
        let found = match steps.split_first() {
            None => self.rules(text, at, trail),
            Some((step, rest)) => {
                let deeper = trail.and(layer(step))?;
                undo(step, text, at, LEFT, usize::MAX).and_then(|(plain, at)| self.at(&plain, at, rest, deeper))
            }
        };
        if found.is_some() || trail.spare() <= steps.depth() {
            return found;
        }
        // As far as the rules read, where nothing else is to be undone.
        let enough = if steps.depth() == 0 { self.scanner.anchors[self.keyword].longest } else { text.len() };
        Escape::ALL.into_iter().find_map(|escape| {
            let start = at.saturating_sub(ESCAPED_BEFORE);
            memchr::memchr(escape.mark(), &text[start..])?;
            let mut plain = Vec::with_capacity((at - start + enough).min(text.len() - start));
            escape.undo(&text[start..at], &mut plain);
            let there = plain.len();
            escape.undo_until(there + enough, &text[at..], &mut plain);
            if plain[..] == text[start..][..plain.len()] {
                return None;
            }
            self.at(&plain, there, steps, trail.and(escape.layer())?)
        })
    }

    fn rules(&self, text: &[u8], at: usize, trail: Trail) -> Option<Match> {
        let anchor = &self.scanner.anchors[self.keyword];
        let start = at.checked_sub(anchor.core)?;
        if !stands_at(text, start, &anchor.keyword) {
            return None;
        }
        self.asked(anchor).find_map(|(number, rule)| {
            let secret = rule.find(text, start)?;
            Some(Match { rule: number, at: secret.start, layers: trail.layers() })
        })
    }

    /// The rules behind a keyword that apply.
    fn asked<'s>(&'s self, anchor: &'s Anchor) -> impl Iterator<Item = (usize, &'s Rule)> {
        let applies = |number: &&usize| !self.except.covers(**number);
        anchor.rules.iter().filter(applies).filter_map(|&number| Some((number, self.scanner.rules[number].as_deref()?)))
    }
}

/// Whether an escape may begin in a short text.
#[inline(always)]
fn holds_escape(text: &[u8]) -> bool {
    text.iter().fold(false, |any, byte| any | Escape::ALL.iter().any(|escape| escape.mark() == *byte))
}

fn stands_at(text: &[u8], start: usize, keyword: &Keyword) -> bool {
    text.get(start..start + keyword.text.len()).is_some_and(|there| match keyword.case {
        Case::Counts => *there == *keyword.text,
        Case::Ignored => there.eq_ignore_ascii_case(&keyword.text),
    })
}

impl Scanner {
    /// Looks for a seed phrase around a place where one of its words stands.
    pub(super) fn seed_phrase(&self, text: &[u8], at: usize, except: &Exemptions) -> Option<Match> {
        let rule = self.seeds.filter(|rule| !except.covers(*rule))?;
        let at = seed::phrase_around(text, at)?;
        Some(Match { rule, at, layers: Vec::new() })
    }

    /// How many bytes from its begin on a hit may need.
    pub(super) fn reach(&self, hit: Hit) -> usize {
        self.anchors[self.patterns.found(hit).0].reach
    }
}

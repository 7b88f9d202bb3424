//! The stretch of a content that is being judged: bytes come in pieces of any size, and verdicts come out as if the
//! whole had been there at once.
//!
//! Every byte is swept once. A place that needs a closer look waits until as many bytes have followed as its rules may
//! read; places are looked at in the order of the content, each with exactly the same bytes around it however they
//! came. What is before the first waiting place may leave.

use std::collections::VecDeque;

use scan_rules::{Hit, LONGEST};

use super::{
    Exemptions, HOLD_BACK, Scanner,
    escape::Escape,
    rules::structure::seed,
    search::{BEFORE, GLIMPSE, Match},
};

/// How much is swept at a time, so that it is read from the processor's cache.
const SLICE: usize = 32 * 1024;
/// Bytes that are swept only when more came after them.
const LAG: usize = LONGEST + 8;
/// A stretch with escapes that may hide keywords is unescaped this far at a time.
const ESCAPED: usize = 1536;
/// The kinds of escapes, by their places in [`Escape::ALL`].
const JSON: usize = 0;
const PERCENT: usize = 1;
/// The longest stretch that is kept before the place that waits first.
const KEPT: usize = BEFORE + LAG;

#[derive(Debug, Default)]
pub(super) struct Tape {
    held: Vec<u8>,
    /// Where in the content `held` begins.
    base: u64,
    /// Index in `held` of the first byte that was not swept.
    swept: usize,
    waiting: VecDeque<Waiting>,
    /// For each kind of escape, up to where a waiting stretch covers it.
    covered: [u64; Escape::ALL.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: u64,
    due: u64,
    what: Candidate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Candidate {
    Keyword { pattern: u32 },
    Escapes { kind: usize },
    Words,
}

/// Which rules are asked, and whether what they find stops the content.
pub(super) struct Asked {
    pub except: Exemptions,
    pub overlook: Overlook,
}

/// What is let pass.
pub(super) enum Overlook {
    Nothing,
    /// The first finding that these rules cover; from there on they do not apply.
    First(Exemptions),
    /// What was let pass, until somebody tells it.
    Passed(Option<Stop>),
}

impl Asked {
    /// Takes note of what may pass: then only the rules that are left go on.
    fn stop(&mut self, stop: Stop) -> Result<(), Stop> {
        let Overlook::First(covered) = &mut self.overlook else { return Err(stop) };
        if !covered.covers(stop.found.rule) {
            return Err(stop);
        }
        self.except = std::mem::take(covered);
        self.overlook = Overlook::Passed(Some(stop));
        Ok(())
    }
}

/// Whether more bytes come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Awaited,
    None,
}

/// Something that must not leave, at this byte of the content.
pub(super) struct Stop {
    pub byte: u64,
    pub found: Match,
}

impl Tape {
    /// Takes the next bytes. Answers up to which byte of the content nothing was found: that far it may leave.
    pub(super) fn push(&mut self, scanner: &Scanner, asked: &mut Asked, bytes: &[u8]) -> Result<u64, Stop> {
        for slice in bytes.chunks(SLICE) {
            self.forget();
            self.held.extend_from_slice(slice);
            self.sweep(scanner, &asked.except, self.held.len().saturating_sub(LAG), Rest::Awaited);
            self.judge(scanner, asked, self.end())?;
        }
        Ok(self.clear())
    }

    /// Judges what is left: no more bytes come.
    pub(super) fn finish(&mut self, scanner: &Scanner, asked: &mut Asked) -> Result<u64, Stop> {
        self.sweep(scanner, &asked.except, self.held.len(), Rest::None);
        self.judge(scanner, asked, u64::MAX)?;
        Ok(self.end())
    }

    fn end(&self) -> u64 {
        self.base + self.held.len() as u64
    }

    fn clear(&self) -> u64 {
        let swept = self.base + self.swept as u64;
        self.waiting.front().map_or(swept, |first| first.at.min(swept))
    }

    fn index(&self, byte: u64) -> usize {
        (byte - self.base) as usize
    }

    fn sweep(&mut self, scanner: &Scanner, except: &Exemptions, to: usize, rest: Rest) {
        if to <= self.swept {
            return;
        }
        let (from, base) = (self.swept, self.base);
        let mut fresh = Vec::new();
        let held = &self.held;
        let covered = &mut self.covered;
        let mut escape_at = |offset: usize, kind: usize, fresh: &mut Vec<Waiting>| {
            let at = base + offset as u64;
            if at >= covered[kind] && Escape::ALL[kind].hides_keyword(&held[offset..]) {
                covered[kind] = at + ESCAPED as u64;
                let due = at + (HOLD_BACK - LAG) as u64;
                fresh.push(Waiting { at, due, what: Candidate::Escapes { kind } });
            }
        };
        scanner.patterns.sweep(held, from, to, |hit: Hit| {
            if hit.pattern == Hit::ESCAPE {
                return escape_at(hit.at, JSON, &mut fresh);
            }
            // Most places are none at a glance, and need not wait for one.
            let is_there = rest == Rest::None || hit.at + GLIMPSE <= held.len();
            if is_there && !scanner.is_worth_a_look(held, hit, except) {
                return;
            }
            let at = base + hit.at as u64;
            let due = at + scanner.reach(hit) as u64;
            fresh.push(Waiting { at, due, what: Candidate::Keyword { pattern: hit.pattern } });
        });
        for offset in memchr::memchr_iter(Escape::Percent.mark(), &held[from..to]) {
            escape_at(from + offset, PERCENT, &mut fresh);
        }
        if scanner.seeds.is_some() {
            let mut at = (base + from as u64).next_multiple_of(seed::STRIDE);
            while at < base + to as u64 {
                if seed::may_be_in_phrase(&self.held, (at - base) as usize) {
                    fresh.push(Waiting { at, due: at + seed::REACH as u64, what: Candidate::Words });
                }
                at += seed::STRIDE;
            }
        }
        self.swept = to;
        if !fresh.is_empty() {
            self.waiting.extend(fresh);
            self.waiting.make_contiguous().sort_unstable();
        }
    }

    /// Looks at every waiting place that has the bytes that it needs.
    fn judge(&mut self, scanner: &Scanner, asked: &mut Asked, end: u64) -> Result<(), Stop> {
        while let Some(first) = self.waiting.front().copied() {
            if first.due > end {
                break;
            }
            let except = &asked.except;
            let at = self.index(first.at);
            let past = self.held.len().min(self.index(first.due));
            let found = match first.what {
                Candidate::Keyword { pattern } => {
                    let start = at.saturating_sub(BEFORE);
                    let text = &self.held[start..past];
                    scanner.examine(text, Hit { at: at - start, pattern }, except).map(|found| (start, found))
                }
                Candidate::Words => {
                    let start = at.saturating_sub(seed::REACH);
                    scanner.seed_phrase(&self.held[start..past], at - start, except).map(|found| (start, found))
                }
                Candidate::Escapes { kind } => {
                    let start = at.saturating_sub(BEFORE / 4);
                    let text = &self.held[start..past];
                    let upto = (at - start + ESCAPED).min(text.len());
                    let escape = Escape::ALL[kind];
                    scanner.search_escaped(text, upto, escape, except).map(|found| (at, Match { at: 0, ..found }))
                }
            };
            match found {
                // What may pass may hide another: the place is looked at once more, by the rules that are left.
                Some((start, found)) => asked.stop(Stop { byte: self.base + (start + found.at) as u64, found })?,
                None => {
                    self.waiting.pop_front();
                }
            }
        }
        Ok(())
    }

    /// Drops what nobody will look at again, when that is worth the move.
    fn forget(&mut self) {
        let needed = self.waiting.front().map_or(self.swept, |first| self.index(first.at).min(self.swept));
        let useless = needed.saturating_sub(KEPT);
        if useless > SLICE / 2 {
            self.held.copy_within(useless.., 0);
            self.held.truncate(self.held.len() - useless);
            self.base += useless as u64;
            self.swept -= useless;
        }
    }
}

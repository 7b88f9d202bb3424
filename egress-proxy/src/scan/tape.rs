//! The stretch of a content that is being judged: bytes come in pieces of any size, and verdicts come out as if the
//! whole had been there at once.
//!
//! Every byte is swept once, where it lies: of a long piece without a place to look at no more is copied than what follows
//! needs before it. A place that needs a closer look waits until as many bytes have followed as its rules may read;
//! places are looked at in the order of the content, each with exactly the same bytes around it however they came. What
//! is before the first waiting place may leave.

use std::{collections::VecDeque, ops::Range};

use scan_rules::{AHEAD, Hit, LONGEST};

use super::{
    Exemptions, HOLD_BACK, Scanner,
    escape::Escape,
    rules::structure::seed,
    search::{BEFORE, GLIMPSE, Match},
};

/// How much is swept at a time, so that it is read from the processor's cache.
pub(super) const SLICE: usize = 64 * 1024;
/// Bytes that are swept only when more came after them.
const LAG: usize = LONGEST + 8;
/// As many of a long piece, so that all is known of those that are swept.
const LONG_LAG: usize = LAG + AHEAD;
/// A piece that is so long can wait that long for the next.
const LONG: usize = 4 * 1024;
/// A stretch with escapes that may hide keywords is unescaped this far at a time.
const ESCAPED: usize = 1536;
/// The kinds of escapes, by their places in [`Escape::ALL`].
const JSON: usize = 0;
const PERCENT: usize = 1;
/// The longest stretch that is kept before the place that waits first.
const KEPT: usize = BEFORE + LAG;
/// After so many bytes of a piece, a look needs nothing of what came before the piece.
const LEAD: usize = KEPT + LAG;

#[derive(Debug, Default)]
pub(super) struct Tape {
    held: Vec<u8>,
    /// Where in the content `held` begins.
    base: u64,
    /// Index in `held` of the first byte that was not swept.
    swept: usize,
    waiting: VecDeque<Waiting>,
    covered: Covered,
}

/// For each kind of escape, up to where a waiting stretch covers it.
type Covered = [u64; Escape::ALL.len()];

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
            if slice.len() < LONG {
                self.take(scanner, asked, slice, LAG)?;
                continue;
            }
            let (lead, rest) = slice.split_at(LEAD + AHEAD);
            self.take(scanner, asked, lead, LONG_LAG)?;
            match self.waiting.is_empty() {
                true => self.pass(scanner, asked, slice)?,
                false => self.take(scanner, asked, rest, LONG_LAG)?,
            }
        }
        Ok(self.clear())
    }

    /// Takes in the next bytes, and judges what they complete; the last are not swept.
    fn take(&mut self, scanner: &Scanner, asked: &mut Asked, bytes: &[u8], lag: usize) -> Result<(), Stop> {
        self.held.extend_from_slice(bytes);
        self.sweep(scanner, &asked.except, self.held.len().saturating_sub(lag), Rest::Awaited);
        self.judge(scanner, asked, self.end())
    }

    /// Sweeps a slice whose lead was taken in, and takes in the rest only if there is a place to look at. None waits so far.
    fn pass(&mut self, scanner: &Scanner, asked: &mut Asked, slice: &[u8]) -> Result<(), Stop> {
        let base = self.end() - (LEAD + AHEAD) as u64;
        let to = slice.len() - LONG_LAG;
        let sweep = Sweep { text: slice, base, part: LEAD - LAG..to, rest: Rest::Awaited };
        let fresh = sweep.places(scanner, &asked.except, &mut self.covered);
        if fresh.is_empty() {
            let kept = to - KEPT;
            self.held.clear();
            self.held.extend_from_slice(&slice[kept..]);
            (self.base, self.swept) = (base + kept as u64, KEPT);
            return Ok(());
        }
        self.held.extend_from_slice(&slice[LEAD + AHEAD..]);
        self.swept = self.held.len() - LONG_LAG;
        self.wait(fresh);
        self.judge(scanner, asked, self.end())
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

    /// Sweeps what was taken in and not swept, up to a place.
    fn sweep(&mut self, scanner: &Scanner, except: &Exemptions, to: usize, rest: Rest) {
        if to <= self.swept {
            return;
        }
        let sweep = Sweep { text: &self.held, base: self.base, part: self.swept..to, rest };
        let fresh = sweep.places(scanner, except, &mut self.covered);
        self.swept = to;
        self.wait(fresh);
    }

    fn wait(&mut self, fresh: Vec<Waiting>) {
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

/// A part of a text that is swept.
struct Sweep<'t> {
    text: &'t [u8],
    /// Where in the content the text begins.
    base: u64,
    part: Range<usize>,
    rest: Rest,
}

impl Sweep<'_> {
    /// The places that need a closer look.
    fn places(&self, scanner: &Scanner, except: &Exemptions, covered: &mut Covered) -> Vec<Waiting> {
        let Sweep { text, base, part: Range { start: from, end: to }, rest } = self;
        let (from, to) = (*from, *to);
        let mut fresh = Vec::new();
        let mut escape_at = |offset: usize, kind: usize, fresh: &mut Vec<Waiting>| {
            let at = base + offset as u64;
            if at >= covered[kind] && Escape::ALL[kind].hides_keyword(&text[offset..]) {
                covered[kind] = at + ESCAPED as u64;
                let due = at + (HOLD_BACK - LAG) as u64;
                fresh.push(Waiting { at, due, what: Candidate::Escapes { kind } });
            }
        };
        let goes_on = *rest == Rest::Awaited;
        scanner.patterns.sweep_content(text, from..to, *base, goes_on, scanner.seeds.is_some(), |hit: Hit| {
            let at = base + hit.at as u64;
            match hit.pattern {
                Hit::ESCAPE => return escape_at(hit.at, JSON, &mut fresh),
                Hit::PERCENT => return escape_at(hit.at, PERCENT, &mut fresh),
                Hit::PHRASE => {
                    if seed::may_block_be_in_phrase(text, hit.at) {
                        fresh.push(Waiting { at, due: at + seed::REACH as u64, what: Candidate::Words });
                    }
                    return;
                }
                _ => {}
            }
            // Most places are none at a glance, and need not wait for one.
            let is_there = !goes_on || hit.at + GLIMPSE <= text.len();
            if is_there && !scanner.is_worth_a_look(text, hit, except) {
                return;
            }
            let due = at + scanner.reach(hit) as u64;
            fresh.push(Waiting { at, due, what: Candidate::Keyword { pattern: hit.pattern } });
        });
        fresh
    }
}

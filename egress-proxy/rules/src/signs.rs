//! What stands near a keyword in every match: a long run of the characters that tokens are made of, or an `@` after a
//! password. Most of a text has nothing like it, so most keywords are looked for only near such signs.
//!
//! Each expression is read for what all of its matches are sure to hold. It must never be taken to hold more than it
//! does: where its signs are missing, nobody looks.

use std::ops::{BitAnd, BitOr, Not, Shr, Sub};

use regex_syntax::hir::{Hir, HirKind, Repetition};

use super::{Keyword, patterns::core, shape::byte_class};

/// Where in a content a keyword is looked for; the later the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// Near signs, as every match has them.
    NearSigns,
    /// Everywhere as it is written. Encoded it is a run of token characters itself, for no match is shorter than
    /// [`SHORTEST`].
    Everywhere,
    /// Everywhere, in all of its forms.
    EverywhereInAnyForm,
}

/// Encoded in base64, so many bytes are a run.
const SHORTEST: usize = 12;
/// The length of a run that is a sign for what stands right before it or in it.
pub(super) const RUN: usize = 16;
/// The length of one that is a sign for what stands further before it.
pub(super) const LONG_RUN: usize = 24;
/// The same for a run of looser characters.
pub(super) const LOOSE_RUN: usize = 32;
/// How far before a run its sign reaches, how far before a long one, and before an `@`.
pub(super) const NEAR: usize = 64;
pub(super) const FAR: usize = 320;
pub(super) const URL: usize = 512;
/// How far behind a run its sign reaches.
pub(super) const BEHIND: usize = 16;
/// Escapes and wide characters make a text so much longer, where they are no run themselves. Who escapes some signs and
/// leaves others makes it longer still: that matters where a keyword stands nearly as far from its run as a sign reaches,
/// and of the rules that we ship none's does.
const ESCAPED: usize = 4;
/// So many bytes before an `@` are of a password.
const PASSWORD: usize = 3;

/// So many bytes after a place tell whether a sign reaches it.
pub const REACH: usize = URL + LOOSE_RUN;
/// After so many bytes more a sweep of a content knows that too.
pub const AHEAD: usize = URL + 2 * 64;

/// A character of tokens, of what encodes and escapes them, and of what breaks their lines.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'%' | b'\\' | 0 | b'\r' | b'\n')
}

/// What tokens may hold beside these.
pub(super) const fn is_loose(byte: u8) -> bool {
    matches!(byte, b'.' | b'=' | b'~')
}

/// A byte of a seed phrase: small letters, what separates them, and escapes of that.
#[inline(always)]
pub(super) fn is_of_phrase(byte: u8) -> bool {
    let within = |first: u8, last: u8| byte.wrapping_sub(first) <= last - first;
    within(b'a', b'z')
        | within(b'\t', b'\r')
        | within(b'+', b'-')
        | within(b'0', b'2')
        | (byte == b' ')
        | (byte == b'"')
        | (byte == b'%')
        | (byte == b'A')
        | (byte == b'\\')
        | (byte == b'_')
}

/// Bytes of a seed phrase that are looked at together, and how far apart such blocks are: every phrase has a whole one in
/// it that begins at a multiple of this.
pub const PHRASE_BLOCK: usize = 16;
pub const PHRASE_STRIDE: usize = 32;

/// Whether a block at a place may be of a phrase: see [`blocks_of_phrase`].
pub fn is_block_of_phrase(text: &[u8], at: usize) -> bool {
    let block = text.get(at..).and_then(|rest| rest.first_chunk::<PHRASE_BLOCK>());
    // All of it at once, for which byte it is not cannot be guessed.
    let is_of_phrase = |block: &[u8; PHRASE_BLOCK]| block.iter().fold(true, |all, byte| all & is_of_phrase(*byte));
    let letter = |letters: u64, byte: &u8| letters << 1 | u64::from(byte.is_ascii_lowercase());
    block.is_some_and(|block| {
        is_of_phrase(block) && { blocks_of_phrase(BLOCK, block.iter().rev().fold(0, letter), |word| word) != 0 }
    })
}

/// The positions of a block.
const BLOCK: u64 = (1 << PHRASE_BLOCK) - 1;

/// Of the two blocks in 64 positions those that may be wholly within a phrase, by the places where they begin. `of_phrase`
/// are the positions of its bytes, `letters` those of small letters; what is not between blocks may be anything.
///
/// Nothing is in such a block but letters and separators, as they are or escaped, and little else. No word is shorter than
/// three letters or, with an escape's before it, longer than nine, and none is further than three bytes from the next.
#[inline(always)]
pub(super) fn blocks_of_phrase<W>(of_phrase: W, letters: W, splat: impl Fn(u64) -> W) -> W
where
    W: Copy + BitAnd<Output = W> + BitOr<Output = W> + Not<Output = W> + Shr<u32, Output = W> + Sub<Output = W>,
{
    const FIRSTS: u64 = 1 | 1 << PHRASE_STRIDE;
    let blocks = splat(FIRSTS * BLOCK);
    let (letters, others) = (letters & blocks, !letters & blocks);
    let one = others & letters >> 1 & others >> 2;
    let two = others & letters >> 1 & letters >> 2 & others >> 3;
    let pair = letters & letters >> 1;
    let four = pair & pair >> 2;
    let ten = four & four >> 4 & pair >> 8;
    let apart = others & others >> 1 & others >> 2 & others >> 3;
    let wrong = !of_phrase & blocks | one | two | ten | apart;
    // The bit behind a block is left where nothing of it is wrong.
    (splat(FIRSTS << PHRASE_BLOCK) - wrong) >> PHRASE_BLOCK as u32 & splat(FIRSTS)
}

/// Whether an `@` stands at a place, or an escape that may stand for one, where a password may end.
pub(super) fn is_at_sign(text: &[u8], at: usize) -> bool {
    match text[at] {
        b'@' => may_end_password(&text[..at]),
        b'%' => is_hidden_sign(text, at + 1) || matches!(text.get(at + 1), Some(b'%' | b'\\')),
        b'\\' => match text.get(at + 1..at + 4) {
            Some([b'u' | b'U', b'0', b'0']) => is_hidden_sign(text, at + 4),
            Some([b'x' | b'X', ..]) => is_hidden_sign(text, at + 2),
            _ => false,
        },
        _ => false,
    }
}

/// Whether the digits of an escape stand for an `@`, or for what may begin another escape.
fn is_hidden_sign(text: &[u8], digits: usize) -> bool {
    matches!(text.get(digits..digits + 2), Some(b"40" | b"25" | b"5c" | b"5C"))
}

fn may_end_password(text: &[u8]) -> bool {
    text.last_chunk::<PASSWORD>().is_some_and(|last| last.iter().all(|byte| is_of_password(*byte)))
}

/// No password in a URL holds anything else, escapes included.
fn is_of_password(byte: u8) -> bool {
    !matches!(byte, b'\t'..=b'\r' | b' ' | b'"' | b'\'' | b'/' | b'<' | b'>' | b'@' | b'`')
}

/// Whether a sign reaches a place, by the bytes around it: [`REACH`] after it, and 64 before.
pub fn is_near_sign(text: &[u8], at: usize) -> bool {
    if text[at..].iter().take(4).any(|byte| *byte == 0) {
        return true;
    }
    let first = at.saturating_sub(BEHIND + LOOSE_RUN);
    let (mut tokens, mut loose) = (0, 0);
    for (place, byte) in text.iter().enumerate().take(at + REACH).skip(first) {
        let is_token = is_token(*byte);
        tokens = if is_token { tokens + 1 } else { 0 };
        loose = if is_token || is_loose(*byte) { loose + 1 } else { 0 };
        let past = place + 1;
        let reaches = |run: usize, before: usize| past - run <= at + before && at <= past + BEHIND;
        if tokens >= RUN && reaches(tokens, NEAR)
            || tokens >= LONG_RUN && reaches(tokens, FAR)
            || loose >= LOOSE_RUN && reaches(loose, FAR)
            || (at..at + URL).contains(&place) && is_at_sign(text, place)
        {
            return true;
        }
    }
    false
}

/// What is known of the runs in every match of an expression.
#[derive(Clone, Debug, Default)]
struct Known {
    shortest: usize,
    /// `None`: there is none.
    longest: Option<usize>,
    /// Whether all of it is a run.
    is_run: bool,
    /// How long the runs are at least with which it begins and ends.
    first: usize,
    last: usize,
    /// Runs that are long enough: how many bytes there are at most before one, and after it.
    runs: Vec<Around>,
}

#[derive(Clone, Copy, Debug)]
struct Around {
    before: usize,
    after: Option<usize>,
}

/// What counts as a run.
#[derive(Clone, Copy)]
struct Sought {
    is_member: fn(u8) -> bool,
    least: usize,
}

impl Sought {
    fn known(self, hir: &Hir) -> Known {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Known::EMPTY,
            HirKind::Literal(literal) => {
                literal.0.iter().fold(Known::EMPTY, |known, byte| self.and(known, self.byte((self.is_member)(*byte))))
            }
            HirKind::Class(class) => match byte_class(class) {
                Some(class) => {
                    let is_member =
                        |range: &regex_syntax::hir::ClassBytesRange| (range.start()..=range.end()).all(self.is_member);
                    self.byte(class.ranges().iter().all(is_member))
                }
                None => {
                    let (shortest, longest) = (class.minimum_len().unwrap_or(0), class.maximum_len());
                    Known { shortest, longest, ..Known::default() }
                }
            },
            HirKind::Capture(capture) => self.known(&capture.sub),
            HirKind::Repetition(repetition) => self.repeated(repetition),
            HirKind::Concat(parts) => parts.iter().fold(Known::EMPTY, |known, part| self.and(known, self.known(part))),
            HirKind::Alternation(ways) => ways.iter().map(|way| self.known(way)).reduce(Known::or).unwrap_or_default(),
        }
    }

    fn byte(self, is_member: bool) -> Known {
        let run = usize::from(is_member);
        Known { shortest: 1, longest: Some(1), is_run: is_member, first: run, last: run, runs: Vec::new() }
    }

    fn repeated(self, Repetition { min, max, sub, .. }: &Repetition) -> Known {
        let once = self.known(sub);
        let (min, max) = (*min as usize, max.map(|max| max as usize));
        let longest = once.longest.zip(max).map(|(longest, max)| longest.saturating_mul(max));
        let shortest = once.shortest.saturating_mul(min);
        if once.is_run {
            let runs = if shortest >= self.least { vec![Around { before: 0, after: Some(0) }] } else { Vec::new() };
            return Known { shortest, longest, is_run: true, first: shortest, last: shortest, runs };
        }
        if min == 0 {
            return Known { longest, ..Known::default() };
        }
        // Of all repetitions the first and the last are sure to be there.
        let rest = longest.zip(once.longest).map(|(all, one)| all.saturating_sub(one));
        let runs = once.runs.iter().map(|run| Around { after: sum(run.after, rest), ..*run }).collect();
        Known { shortest, longest, is_run: false, first: once.first, last: once.last, runs }
    }

    /// One after the other.
    fn and(self, one: Known, other: Known) -> Known {
        let mut runs: Vec<Around> =
            one.runs.iter().map(|run| Around { after: sum(run.after, other.longest), ..*run }).collect();
        if let Some(longest) = one.longest {
            runs.extend(other.runs.iter().map(|run| Around { before: longest.saturating_add(run.before), ..*run }));
        }
        let both = one.last + other.first;
        if both >= self.least {
            let before = if one.is_run { Some(0) } else { one.longest.map(|longest| longest - one.last) };
            let after = if other.is_run { Some(0) } else { other.longest.map(|longest| longest - other.first) };
            runs.extend(before.map(|before| Around { before, after }));
        }
        Known {
            shortest: one.shortest.saturating_add(other.shortest),
            longest: sum(one.longest, other.longest),
            is_run: one.is_run && other.is_run,
            first: if one.is_run { one.shortest + other.first } else { one.first },
            last: if other.is_run { one.last + other.shortest } else { other.last },
            runs,
        }
    }
}

fn sum(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    Some(one?.saturating_add(other?))
}

impl Known {
    const EMPTY: Known = Known { shortest: 0, longest: Some(0), is_run: true, first: 0, last: 0, runs: Vec::new() };

    /// One or the other.
    fn or(self, other: Known) -> Known {
        let nearest =
            |known: &Known| known.runs.iter().copied().min_by_key(|run| (run.before, run.after.is_none(), run.after));
        let either = |one: Around, other: Around| Around {
            before: one.before.max(other.before),
            after: one.after.zip(other.after).map(|(one, other)| one.max(other)),
        };
        Known {
            shortest: self.shortest.min(other.shortest),
            longest: self.longest.zip(other.longest).map(|(one, other)| one.max(other)),
            is_run: self.is_run && other.is_run,
            first: self.first.min(other.first),
            last: self.last.min(other.last),
            runs: nearest(&self).zip(nearest(&other)).map(|(one, other)| either(one, other)).into_iter().collect(),
        }
    }
}

/// The runs that are signs: which characters, how many, and how far before one it reaches.
const RUNS: [(Sought, usize); 3] = [
    (Sought { is_member: is_token, least: RUN }, NEAR),
    (Sought { is_member: is_token, least: LONG_RUN }, FAR),
    (Sought { is_member: is_token_or_loose, least: LOOSE_RUN }, FAR),
];

fn is_token_or_loose(byte: u8) -> bool {
    is_token(byte) || is_loose(byte)
}

impl Ground {
    /// Where the keywords of an expression are looked for; whether every match begins with one is known.
    pub(super) fn of(hir: &Hir, keywords: &[Keyword], begins_with_keyword: bool) -> Ground {
        // A keyword that reaches beyond the run is as far from it as one after it.
        let is_first = begins_with_keyword && keywords.iter().all(|keyword| is_looked_for_early(&keyword.text));
        let has_sign = RUNS.iter().any(|(sought, reach)| sought.is_in_reach(hir, *reach, is_first))
            || (begins_with_keyword && ends_password(hir));
        let shortest = hir.properties().minimum_len().unwrap_or(0);
        match (has_sign, shortest >= SHORTEST) {
            (true, true) => Ground::NearSigns,
            (false, true) => Ground::Everywhere,
            (_, false) => Ground::EverywhereInAnyForm,
        }
    }

    /// Where a value is looked for.
    pub fn of_value(value: &[u8]) -> Ground {
        // What is looked for is no more than a part of it.
        let (start, _) = core(value);
        let end = value.len().min(start + FAR / ESCAPED + LOOSE_RUN);
        match Ground::of(&Hir::literal(&value[start..end]), &[], true) {
            _ if value.len() < SHORTEST => Ground::EverywhereInAnyForm,
            Ground::EverywhereInAnyForm => Ground::Everywhere,
            ground => ground,
        }
    }
}

/// Whether the part of a keyword that is looked for is no further from its begin than a sign reaches behind a run there.
fn is_looked_for_early(keyword: &[u8]) -> bool {
    let (start, core) = core(keyword);
    start + core.len() <= RUN + BEHIND / ESCAPED
}

impl Sought {
    fn is_in_reach(self, hir: &Hir, reach: usize, is_first: bool) -> bool {
        let known = self.known(hir);
        let is_whole = known.is_run && known.shortest >= self.least;
        is_whole
            || known.runs.iter().any(|run| {
                let is_behind = || run.after.is_some_and(|after| after <= BEHIND / ESCAPED);
                run.before <= reach / ESCAPED && (is_first || is_behind())
            })
    }
}

/// A run that every match of an expression holds, and where it begins at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub least: usize,
    pub before: usize,
}

impl Run {
    /// About the longest that is sure to be there among so many first bytes.
    pub(super) fn of(hir: &Hir, most: usize) -> Option<Run> {
        [80, 64, 48, 40, 32, 24, 20, 16, 12, 8].into_iter().find_map(|least| {
            let known = Sought { is_member: is_token_or_loose, least }.known(hir);
            let before = if known.is_run && known.shortest >= least {
                Some(0)
            } else {
                known.runs.iter().map(|run| run.before).min()
            };
            before.filter(|before| before + least <= most).map(|before| Run { least, before })
        })
    }

    /// Whether there is none at the begin of a text: `true` is certain. An escape may hide that there is one.
    pub fn is_missing(self, text: &[u8]) -> bool {
        let Some(text) = text.get(..self.before + self.least) else { return false };
        let mut run = 0;
        for byte in text {
            run = if is_token_or_loose(*byte) { run + 1 } else { 0 };
            if run >= self.least || matches!(byte, b'\\' | b'%') {
                return false;
            }
        }
        true
    }
}

/// Whether an `@` after a password stands in every match, near enough to its begin.
fn ends_password(hir: &Hir) -> bool {
    let HirKind::Concat(parts) = hir.kind() else { return false };
    let is_short = hir.properties().maximum_len().is_some_and(|longest| longest <= URL);
    let is_at_sign = |hir: &Hir| matches!(hir.kind(), HirKind::Literal(literal) if literal.0.first() == Some(&b'@'));
    is_short && parts.windows(2).any(|pair| is_password(&pair[0]) && is_at_sign(&pair[1]))
}

fn is_password(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => is_password(&capture.sub),
        HirKind::Repetition(Repetition { min, sub, .. }) => {
            let HirKind::Class(class) = sub.kind() else { return false };
            let class = byte_class(class);
            let may_end =
                |range: &regex_syntax::hir::ClassBytesRange| (range.start()..=range.end()).all(is_of_password);
            *min as usize >= PASSWORD && class.is_some_and(|class| class.ranges().iter().all(may_end))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rules_are_looked_for_everywhere() {
        let rules = crate::shipped(std::path::Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the rules are valid");
        let everywhere: Vec<&str> = rules
            .iter()
            .filter(|rule| rule.expression.is_some() && rule.ground() != Ground::NearSigns)
            .map(|rule| &*rule.id)
            .collect();
        assert_eq!(
            everywhere,
            [
                "travis-token",
                "npmrc-token",
                "nuget-password",
                "docker-config-auth",
                "sidekiq-credentials",
                "linkedin-secret",
                "sumologic-token",
                "pagerduty-key",
                "jdbc-password",
                "connection-string-password",
                "airtable-key",
                "dropbox-key",
                "finnhub-token",
                "private-key",
                "jwk-private",
                "basic-auth",
                "bearer-token",
                "netrc",
                "otpauth",
                "password-hash"
            ]
        );
    }
}

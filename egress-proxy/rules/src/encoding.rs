//! The forms in which a keyword may travel: plain, and in every encoding that leaves a stretch of bytes which depends on
//! the keyword alone. Used when patterns are made; whoever judges a content undoes the steps that a pattern names.

use std::ops::{Range, RangeInclusive};

use super::DEPTH;

/// One layer that hides a keyword, with what is needed to undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The keyword begins at this byte of its group of three.
    Base64 {
        phase: usize,
    },
    Hex,
    Utf16 {
        low_first: Endian,
    },
}

impl Step {
    /// Which bytes of what it hides one of a form's bytes depends on: the first of them, and the last.
    fn depends_on(self, place: usize) -> (usize, usize) {
        match self {
            Step::Base64 { phase } => {
                let bit = (LEAD[phase] + place) * 6 - phase * 8;
                (bit / 8, (bit + 5) / 8)
            }
            Step::Hex | Step::Utf16 { .. } => (place / 2, place / 2),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endian {
    Little,
    Big,
}

/// Up to two layers, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steps([Option<Step>; DEPTH]);

impl Steps {
    pub fn split_first(self) -> Option<(Step, Steps)> {
        let [first, rest @ ..] = self.0;
        let mut steps = Steps::default();
        steps.0[..rest.len()].copy_from_slice(&rest);
        Some((first?, steps))
    }

    /// How many layers there are.
    pub fn depth(self) -> usize {
        self.0.into_iter().flatten().count()
    }

    pub fn is_base64_twice(self) -> bool {
        matches!(self.0, [Some(Step::Base64 { .. }), Some(Step::Base64 { .. })])
    }

    /// The same in a byte, half of it for each.
    pub(super) fn to_byte(self) -> u8 {
        self.0.iter().rev().fold(0, |byte, step| {
            let step = match *step {
                None => 0,
                Some(Step::Base64 { phase }) => 1 + phase as u8,
                Some(Step::Hex) => 4,
                Some(Step::Utf16 { low_first: Endian::Little }) => 5,
                Some(Step::Utf16 { low_first: Endian::Big }) => 6,
            };
            byte << 4 | step
        })
    }

    pub(super) fn from_byte(byte: u8) -> Steps {
        Steps([byte & 15, byte >> 4].map(|step| match step {
            1..=3 => Some(Step::Base64 { phase: usize::from(step - 1) }),
            4 => Some(Step::Hex),
            5 => Some(Step::Utf16 { low_first: Endian::Little }),
            6 => Some(Step::Utf16 { low_first: Endian::Big }),
            _ => None,
        }))
    }

    /// With one more layer around them; `None` when that would be too deep.
    fn under(self, outer: Step) -> Option<Steps> {
        let mut steps = Steps([Some(outer); DEPTH]);
        if self.depth() == DEPTH {
            return None;
        }
        steps.0[1..].copy_from_slice(&self.0[..DEPTH - 1]);
        Some(steps)
    }
}

/// Longest stretch of a pattern that is looked for; the rest is the rule's business.
pub const LONGEST: usize = 16;

/// A keyword in one form: the bytes that are sure to stand there, and what hides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Encoded {
    bytes: [u8; LONGEST],
    length: u8,
    pub steps: Steps,
    /// For each byte, which of the keyword's it depends on: the first of them, and the last.
    plain: [(u8, u8); LONGEST],
}

impl Encoded {
    pub fn plain(keyword: &[u8]) -> Encoded {
        let itself = |place| (place, place);
        Encoded::new(keyword.iter().copied(), Steps::default(), itself)
    }

    fn new(all: impl Iterator<Item = u8>, steps: Steps, depends_on: impl Fn(u8) -> (u8, u8)) -> Encoded {
        let mut form = Encoded { bytes: [0; LONGEST], length: 0, steps, plain: [(0, 0); LONGEST] };
        for ((place, byte), plain) in form.bytes.iter_mut().zip(all).zip(&mut form.plain) {
            *place = byte;
            *plain = depends_on(form.length);
            form.length += 1;
        }
        form
    }

    /// The stretch of the keyword that some of the bytes depend on.
    pub fn plain_under(&self, bytes: Range<usize>) -> RangeInclusive<usize> {
        let (first, last) = (self.plain[bytes.start].0, self.plain[bytes.end - 1].1);
        usize::from(first)..=usize::from(last)
    }

    /// Without what tells nothing that its first bytes do not: for texts of four bytes of which the last is a guess.
    pub fn shortest(mut self) -> Encoded {
        let enough = match self.steps.0 {
            [None, ..] => return self,
            [Some(Step::Base64 { .. }), None] => 4,
            [Some(Step::Base64 { .. }), _] => 5,
            [Some(_), None] => 6,
            [Some(_), _] => 8,
        };
        self.length = self.length.min(enough);
        self.bytes[usize::from(self.length)..].fill(0);
        self.plain[usize::from(self.length)..].fill((0, 0));
        self
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Every form of a keyword, up to so many layers deep, the plain one first.
pub fn forms(keyword: &[u8], depth: usize) -> Vec<Encoded> {
    let mut all = vec![Encoded::plain(keyword)];
    let mut outermost = 0;
    for _ in 0..depth {
        let whole = all.len();
        for inner in outermost..whole {
            wrap(all[inner], &mut all);
        }
        outermost = whole;
    }
    all
}

/// Adds the forms with one more layer around one. The new layer is the outermost.
fn wrap(form: Encoded, all: &mut Vec<Encoded>) {
    let mut add = |step: Step, bytes: &mut dyn Iterator<Item = u8>| {
        if let Some(steps) = form.steps.under(step) {
            let depends_on = |place| {
                let (first, last) = step.depends_on(usize::from(place));
                (form.plain[first].0, form.plain[last].1)
            };
            all.push(Encoded::new(bytes, steps, depends_on));
        }
    };
    for phase in 0..3 {
        let step = Step::Base64 { phase };
        let characters = || base64_core(form.bytes(), phase);
        add(step, &mut characters());
        if characters().any(|byte| matches!(byte, b'+' | b'/')) {
            let url = |byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => other,
            };
            add(step, &mut characters().map(url));
        }
    }
    add(Step::Hex, &mut hex(form.bytes(), b"0123456789abcdef"));
    if hex(form.bytes(), b"0123456789ABCDEF").any(|digit| digit.is_ascii_alphabetic()) {
        add(Step::Hex, &mut hex(form.bytes(), b"0123456789ABCDEF"));
    }
    // Wide characters are text, so they hide nothing but the keyword itself.
    if form.steps.depth() == 0 {
        for low_first in [Endian::Little, Endian::Big] {
            let wide = form.bytes().iter().flat_map(|byte| match low_first {
                Endian::Little => [*byte, 0],
                Endian::Big => [0, *byte],
            });
            add(Step::Utf16 { low_first }, &mut wide.into_iter());
        }
    }
}

/// The characters of a base64 text that depend on `bytes` alone when these begin at byte `phase` of a group.
fn base64_core(bytes: &[u8], phase: usize) -> impl Iterator<Item = u8> + '_ {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let past = (phase + bytes.len()) * 8 / 6;
    (LEAD[phase]..past).map(move |place| {
        let bit = place * 6 - phase * 8;
        let pair = u16::from(bytes[bit / 8]) << 8 | u16::from(bytes.get(bit / 8 + 1).copied().unwrap_or(0));
        ALPHABET[usize::from(pair >> (10 - bit % 8) & 63)]
    })
}

/// Characters between the begin of a group of four and the first one that depends on the keyword alone.
const LEAD: [usize; 3] = [0, 2, 3];

fn hex<'a>(bytes: &'a [u8], digits: &'static [u8; 16]) -> impl Iterator<Item = u8> + 'a {
    bytes.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]])
}

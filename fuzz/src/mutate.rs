//! Fuzzing without a sanitizer: corpus inputs, changed at random from a seed that reproduces them.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

/// Changes inputs; the same seed gives the same changes.
pub struct Mutator {
    random: StdRng,
    corpus: Vec<Vec<u8>>,
}

/// No input grows beyond this.
const LONGEST: usize = 64 * 1024;

impl Mutator {
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        Self { random: StdRng::seed_from_u64(seed), corpus }
    }

    /// One more input: some of the corpus, after one to eight changes.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any();
        for _ in 0..self.random.random_range(1..=8) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn any(&mut self) -> Vec<u8> {
        match self.corpus.len() {
            0 => Vec::new(),
            length => self.corpus[self.random.random_range(0..length)].clone(),
        }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.random_range(0..=input.len());
        match self.random.random_range(0..6) {
            0 => input.insert(at, self.random.random()),
            1 if at < input.len() => drop(input.remove(at)),
            2 if at < input.len() => input[at] ^= 1 << self.random.random_range(0..8),
            3 => {
                let telling = TELLING[self.random.random_range(0..TELLING.len())];
                input.splice(at..at, telling.iter().copied());
            }
            4 => {
                // A stretch of another input, over what stands here.
                let other = self.any();
                let from = self.random.random_range(0..=other.len());
                let to = self.random.random_range(from..=other.len());
                let end = input.len().min(at + (to - from));
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let mut noise = [0; 4];
                self.random.fill_bytes(&mut noise);
                input.splice(at..at, noise);
            }
        }
    }
}

/// What parsers trip over.
const TELLING: [&[u8]; 20] = [
    b"%",
    b"%2f",
    b"%2e",
    b"%25",
    b"..",
    b";",
    b"//",
    b"\\",
    b"\0",
    b"\r\n",
    b"@",
    b":",
    b"[",
    b"]",
    b"*",
    b"#",
    b"?",
    b"\xff\xff",
    b"\x80",
    b"0x7f",
];

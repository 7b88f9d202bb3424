//! Makes up secrets: text that a rule's expression matches, with the structure that the rule checks.
//!
//! Deterministic: every run sees the same secrets, and none is written down anywhere.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use egress_proxy::scan::{Rule, Structure};
use regex_syntax::hir::{Class, Hir, HirKind};
use ring::digest::{SHA256, digest};

/// A small generator of numbers (splitmix64): the same ones in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    fn of(&mut self, alphabet: &[u8], count: usize) -> String {
        (0..count).map(|_| alphabet[self.below(alphabet.len())] as char).collect()
    }
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A secret that the rule must find, with the words around it that the rule needs.
pub(crate) fn secret(rule: &Rule, dice: &mut Dice) -> String {
    match (rule.check(), rule.id()) {
        (Some(Structure::GithubCrc32), _) => {
            let kind = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"][dice.below(5)];
            let body = dice.of(ALPHANUMERIC, 30);
            format!("{kind}{body}{}", base62(crc32(body.as_bytes())))
        }
        (Some(Structure::JwtHeader), _) => {
            let part = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
            let subject = dice.of(ALPHANUMERIC, 24);
            format!(
                "{}.{}.{}",
                part(r#"{"alg":"HS256","typ":"JWT"}"#.to_owned()),
                part(format!(r#"{{"sub":"{subject}","iat":1700000000}}"#)),
                BASE64_URL_SAFE_NO_PAD.encode(dice.bytes(32))
            )
        }
        (Some(Structure::PrivateKey), _) => {
            let der = [&[0x30, 0x82, 4, 0xa4, 2, 1, 0][..], &dice.bytes(600)].concat();
            let body = BASE64_STANDARD.encode(der);
            let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN {k}-----\n{}\n-----END {k}-----", lines.join("\n"), k = "RSA PRIVATE KEY")
        }
        (Some(Structure::BasicCredentials), id) => {
            let pair = BASE64_STANDARD.encode(format!("svc-{}:{}", dice.of(b"abcdef", 6), dice.of(ALPHANUMERIC, 20)));
            if id == "basic-auth" { format!("Basic {pair}") } else { format!("\"auth\": \"{pair}\"") }
        }
        (Some(Structure::Base58check), id) => {
            let extended = id == "extended-private-key";
            let mut payload = if extended { vec![0x04, 0x88, 0xad, 0xe4] } else { vec![0x80] };
            payload.extend(dice.bytes(if extended { 74 } else { 32 }));
            if !extended {
                payload.push(1);
            }
            let check = digest(&SHA256, digest(&SHA256, &payload).as_ref());
            payload.extend_from_slice(&check.as_ref()[..4]);
            if extended { base58(&payload) } else { format!("bitcoin_wif={}", base58(&payload)) }
        }
        (Some(Structure::Bip39), _) => seed_phrase(dice),
        (Some(Structure::Password), _) => {
            // The shortest that the expression allows are no passwords.
            (0..8).map(|_| described(rule, dice)).max_by_key(String::len).unwrap_or_default()
        }
        _ => described(rule, dice),
    }
}

/// Any text that the rule's expression describes.
fn described(rule: &Rule, dice: &mut Dice) -> String {
    let hir = parse(rule.expression().expect("every other rule has an expression"));
    let mut text = Vec::new();
    write(&hir, dice, &mut text);
    String::from_utf8(text).expect("generated text is ASCII")
}

/// The expression as the scan reads it.
pub(crate) fn parse(expression: &str) -> Hir {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    parser.parse(expression).expect("the built-in rules are valid")
}

fn write(hir: &Hir, dice: &mut Dice, text: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.extend_from_slice(&literal.0),
        HirKind::Class(class) => text.push(member(class, dice)),
        HirKind::Capture(capture) => write(&capture.sub, dice, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, dice, text)),
        HirKind::Alternation(ways) => write(&ways[dice.below(ways.len())], dice, text),
        HirKind::Repetition(repetition) => {
            let least = repetition.min as usize;
            // Optional parts of the context stay out, secrets are some characters longer than they must be.
            let spare = repetition.max.map_or(8, |max| (max as usize - least).min(8));
            let more = if least < 2 { usize::from(least == 0 && spare == 1 && dice.below(2) == 0) } else { spare };
            for _ in 0..least + if least < 2 { more } else { dice.below(more + 1) } {
                write(&repetition.sub, dice, text);
            }
        }
    }
}

fn member(class: &Class, dice: &mut Dice) -> u8 {
    let class = match class {
        Class::Bytes(class) => class.clone(),
        Class::Unicode(class) => class.to_byte_class().expect("the rules are ASCII"),
    };
    let all: Vec<u8> = class.ranges().iter().flat_map(|range| range.start()..=range.end()).collect();
    let plain: Vec<u8> = all.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    // Both cases of one letter: people write it small.
    if let [upper, lower] = plain[..]
        && upper.eq_ignore_ascii_case(&lower)
    {
        return lower;
    }
    if plain.len() >= 2 {
        return plain[dice.below(plain.len())];
    }
    let printable: Vec<u8> = all.into_iter().filter(|byte| (0x20..0x7f).contains(byte)).collect();
    printable[dice.below(printable.len())]
}

fn seed_phrase(dice: &mut Dice) -> String {
    let words: Vec<&str> = include_str!("../../egress-proxy/rules/bip39-english.txt").split_whitespace().collect();
    let length = [16, 32][dice.below(2)];
    let entropy = dice.bytes(length);
    let check = digest(&SHA256, &entropy).as_ref()[0];
    let bits: Vec<u8> =
        entropy.iter().chain([&check]).flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let count = entropy.len() * 3 / 4;
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | usize::from(*bit));
    bits.chunks_exact(11).take(count).map(|bits| words[number(bits)]).collect::<Vec<_>>().join(" ")
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn base62(mut value: u32) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn base58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = usize::from(*byte);
        for digit in &mut digits {
            carry += usize::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    digits.iter().rev().map(|digit| ALPHABET[usize::from(*digit)] as char).collect()
}

//! How seldom a stretch of bytes stands in text, so that a keyword is looked for where it says most. A guess by pairs of
//! characters: wrong ones cost time, never a finding.

use super::Case;

/// In bits: a stretch of twenty stands once in a mebibyte of source text.
pub(super) fn rarity(text: &[u8], case: Case) -> u32 {
    let pairs: u32 = text.windows(2).map(|pair| cost(PAIRS[kind(pair[0])][kind(pair[1])])).sum();
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    let twice: u32 = inner.iter().map(|byte| cost(ALONE[kind(*byte)])).sum();
    let capitals = text.iter().filter(|byte| byte.is_ascii_uppercase() && case == Case::Counts).count();
    (pairs + CAPITAL * capitals as u32).saturating_sub(twice)
}

/// Letters of either case, the underscore, digits, everything else.
fn kind(byte: u8) -> usize {
    match byte {
        b'a'..=b'z' => usize::from(byte - b'a'),
        b'A'..=b'Z' => usize::from(byte - b'A'),
        b'_' => 26,
        b'0'..=b'9' => 27,
        _ => 28,
    }
}

fn cost(digit: u8) -> u32 {
    (digit as char).to_digit(36).unwrap_or(0)
}

/// What a capital costs beside its letter.
const CAPITAL: u32 = 3;

/// How often each kind stands in source text (16 MiB of Rust, C and documentation): the binary logarithm, a digit in base
/// 36 each.
const ALONE: &[u8; 29] = b"565646775b8565569554687877651";

/// The same of each pair.
const PAIRS: [&[u8; 29]; 29] = [
    b"ea9aebagahc898hag888bccbbfdb9",
    b"bdceaehhadh9egaeidcdahggahdb8",
    b"9dbc9bh9blaadf7dhab8bhdedibb9",
    b"adcb8eeg9ghbdfadhcacdddddi9b7",
    b"9c98a9bdchc998caa788ebb9ci8b6",
    b"beee9abh9kjbda9ekabccegjekbb8",
    b"dgfe9ffbbkjceacfjcccbihkfgbf9",
    b"afee8ffgalgddgbejcdbbiekgkbd9",
    b"9b99aaaidgda979bfb98gaick9caa",
    b"gijmclllilhljhehklfmfkmmlmije",
    b"cfffagggckjfgdhehgbdgehkhkdf9",
    b"adea8aef8jg9fe9cidbaaddfbhbd8",
    b"9bdd8ffgalidcfa9ifbc9hghgfad9",
    b"9ca89b9gaibbca9age88bbdjcfac7",
    b"cb9adabgbcba97b9k8ba9b9dgibe9",
    b"8fcd9fhcblf9fgabh9ba8gekakcda",
    b"ijhhikkiimljjgkhbidjbmfkklehb",
    b"8eab7dbf8kcdba8di999adejaebd7",
    b"adbd7dfa8kdbcdabib979eegad9d7",
    b"8ca97ch88igbde9bi89aaedb9e9c6",
    b"c9bcaackali9b9daj998jhjgjhf9c",
    b"9gfg9hghbmfffgcghgfgikigkgfcc",
    b"bdfgbfjb9ieeecbfibagiheikicga",
    b"dfeedelcelkgfhfblieajifchkcb9",
    b"eeefediielhdcdbajeaagffkihbf8",
    b"fece8fkhflkhfiggliahgfjifhggd",
    b"aaaaaaccagebbbbafa9aabcfhcbbb",
    b"bbbbbciibjghihhhhgegbhhbjia66",
    b"787888a97cb88887d877898ab9a72",
];

//! The search for the proxy's own values alone, which looks at few positions of a content: it must find them wherever the
//! whole scan does.

use std::{iter, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use egress_proxy::scan::{ExactValues, Exemptions, Finding, Scanner};
use http::HeaderMap;

/// Of lengths and characters that make patterns of several lengths, and so several distances between looks.
const VALUES: [&str; 6] =
    ["kq7pzx2v", "kq7-zx_2v.w", "T8/kd+9Qz=", "p4$s:W0r!d?x", "a-value_of.the-proxy-0001", "xk-97/ab+cdefgh"];

fn own(value: &str) -> ExactValues {
    let mut values = ExactValues::default();
    values.add("OWN", value.as_bytes());
    values
}

fn forms(value: &str) -> Vec<Vec<u8>> {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let base64 = |lead: &str| BASE64_STANDARD.encode(format!("{lead}{value} and more"));
    let texts = [
        value.to_owned(),
        hex(value),
        hex(value).to_uppercase(),
        base64(""),
        base64("a"),
        base64("ab"),
        BASE64_STANDARD.encode(base64("a ")),
        hex(&base64("a")),
        value.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        value.bytes().map(|byte| format!("\\u{byte:04x}")).collect(),
        value.bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
    ];
    let wide = |order: fn(u16) -> [u8; 2]| value.encode_utf16().flat_map(order).collect();
    texts.map(String::into_bytes).into_iter().chain([wide(u16::to_le_bytes), wide(u16::to_be_bytes)]).collect()
}

fn judge(scanner: &Arc<Scanner>, text: &[u8], cut: usize) -> Option<Finding> {
    let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
    let pushed = text.chunks(cut).try_for_each(|chunk| scan.push(Bytes::copy_from_slice(chunk)).map(drop));
    pushed.and_then(|()| scan.finish().map(drop)).err()
}

#[test]
fn every_form_of_an_own_value_is_found_at_every_place_however_it_is_cut() {
    for value in VALUES {
        let alone = Arc::new(own(value).scanner().unwrap());
        let whole = Arc::new(Scanner::new(None, own(value)));
        for form in forms(value) {
            for (lead, rest) in
                (0..9).chain([555, 565, 32_760]).map(|lead| (lead, 60)).chain([(0, 600), (1190, 600), (5003, 600)])
            {
                let text = [&b"{\"text\": \"  ".repeat(3000)[..lead], &form, &b" and so on \n".repeat(rest)].concat();
                let found = judge(&whole, &text, text.len());
                assert!(found.is_some(), "{value} {}", String::from_utf8_lossy(&form));
                for cut in [7, 1000, lead + form.len() / 2, text.len()] {
                    assert_eq!(judge(&alone, &text, cut.max(1)), found, "{value} after {lead}, cut at {cut}");
                }
            }
        }
    }
}

#[test]
fn a_value_of_other_letters_is_found_in_a_long_text() {
    for value in ["ключ-доступа", "pässwörd!", "käse"] {
        let scanner = Arc::new(Scanner::new(None, own(value)));
        let filler = "so it goes on and on as it was, ".repeat(200);
        let is_short = value.len() < 8;
        for form in [value.to_owned(), BASE64_STANDARD.encode(format!("a {value} and more"))] {
            let found = judge(&scanner, format!("{filler}\n{form}\n{filler}").as_bytes(), usize::MAX);
            assert_eq!(found.is_none(), is_short, "{form}");
        }
    }
}

#[test]
fn a_long_value_costs_no_more_to_look_for_than_its_begin() {
    let value: String = (0..40_000_u32).map(|n| format!("{n:x}.")).collect();
    let scanner = Arc::new(Scanner::new(None, own(&value)));
    assert_eq!(judge(&scanner, &b"a ".repeat(3000), usize::MAX), None);
    let begin = &value[..3000];
    let scanner = Arc::new(Scanner::new(None, own(begin)));
    assert!(judge(&scanner, &[b"a ".repeat(3000), value.into_bytes()].concat(), usize::MAX).is_some());
}

#[test]
fn a_value_across_the_border_of_two_pieces_is_found_wherever_it_is_cut() {
    let value = VALUES[4];
    let alone = Arc::new(own(value).scanner().unwrap());
    let before: Vec<u8> = iter::repeat_n(b"lorem ipsum ", 120).flatten().copied().collect();
    for form in forms(value) {
        let text = [&before[..], &form, &before].concat();
        let found = judge(&alone, &text, text.len());
        assert!(found.is_some());
        for cut in before.len() - 40..before.len() + form.len() + 40 {
            assert_eq!(judge(&alone, &text, cut), found, "{}, cut at {cut}", String::from_utf8_lossy(&form));
        }
    }
}

#[test]
fn what_holds_no_own_value_passes_unchanged() {
    let alone = Arc::new(own(VALUES[4]).scanner().unwrap());
    let text: Vec<u8> = (0..20_000_u32).flat_map(|n| format!("{n} \\u0041%41 a-value_of ").into_bytes()).collect();
    for cut in [1, 559, 560, 561, 16_384, 100_000] {
        let mut scan = alone.content(&HeaderMap::new(), Exemptions::default());
        let mut out = Vec::new();
        for chunk in text.chunks(cut) {
            scan.push(Bytes::copy_from_slice(chunk)).unwrap().for_each(|bytes| out.extend_from_slice(&bytes));
        }
        scan.finish().unwrap().for_each(|bytes| out.extend_from_slice(&bytes));
        assert!(out == text, "cut at {cut}");
    }
}

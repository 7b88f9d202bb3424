//! Queries with an injected parameter: what is not refused names the parameter once, for every server's way of reading it.

use shared::routes::query::{is_disguised, with, without};

const NAME: &str = "key";

pub(crate) fn run(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else { return };
    let target = format!("/x?{query}");
    if is_disguised(&target, NAME) {
        return;
    }
    let bare = without(&target, NAME).unwrap_or(target);
    assert_eq!(readings(&bare), 0, "{bare:?}");
    let sent = with(&bare, NAME, "v%2F");
    assert_eq!(readings(&sent), 1, "{sent:?}");
    assert!(sent.ends_with("key=v%2F") && sent.starts_with(bare.trim_end_matches('?')), "{sent:?}");
}

/// How often a lenient server would read the parameter: it decodes first, takes `;` for `&` and ignores case.
fn readings(target: &str) -> usize {
    let (_, query) = target.split_once('?').unwrap_or_default();
    let mut text = query.to_owned();
    for _ in 0..4 {
        text = decoded(&text);
    }
    let name =
        |pair: &str| pair.split(['=', '[']).next().unwrap_or_default().trim_matches(['+', ' ']).to_ascii_lowercase();
    text.split(['&', ';']).filter(|pair| name(pair) == NAME).count()
}

fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let pair = rest.get(at + 1..at + 3).filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let pair = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match pair.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

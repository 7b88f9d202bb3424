//! Passwords: they have no form, so what tells them from the words that stand for one is all there is to check.

use super::token;

/// Parts of words that documentation and test set-ups use for passwords.
const STAND_INS: [&str; 22] = [
    "pass", "pwd", "s3cr", "user", "name", "admin", "root", "test", "token", "change", "foo", "bar", "my", "123456",
    "abc", "postgres", "mysql", "guest", "login", "host", "key", "xyz",
];

/// Words that stand for a password in whatever company.
const NAMES: [&str; 4] = ["password", "passwd", "secret", "changeme"];

/// Characters that templates put around a name.
const TEMPLATE: &[u8] = b"${}<>%*[]()";

/// Base64 of `user:password` with a password that means something (RFC 7617).
pub(super) fn basic(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let Some(pair) = token::base64(text) else { return false };
    if !pair.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return false;
    }
    let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return false };
    is_chosen(&pair[colon + 1..])
}

/// Whether a password looks like one, not like a word that stands for it.
pub(super) fn is_chosen(password: &[u8]) -> bool {
    let lower = password.to_ascii_lowercase();
    let stands_in = |word: &str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
    let weak = password.len() < 12 && STAND_INS.into_iter().any(stands_in);
    password.len() >= 6
        && password.iter().filter(|byte| TEMPLATE.contains(byte)).count() <= 1
        && !password.starts_with(b"$")
        && !NAMES.into_iter().any(stands_in)
        && !weak
        && classes(password) >= 2
        && distinct(password) >= 5
}

/// Whether a token has letters and digits, and enough different ones.
pub(super) fn is_mixed(token: &[u8]) -> bool {
    token.iter().any(u8::is_ascii_digit) && token.iter().any(u8::is_ascii_alphabetic) && distinct(token) >= 10
}

/// Of lower case, upper case, digits and signs: how many kinds there are.
fn classes(text: &[u8]) -> usize {
    let has = |kind: fn(&u8) -> bool| usize::from(text.iter().any(kind));
    has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase) + has(u8::is_ascii_digit) + has(u8::is_ascii_punctuation)
}

fn distinct(text: &[u8]) -> usize {
    let mut seen = [false; 256];
    text.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.into_iter().filter(|seen| *seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_stand_for_a_password_are_none() {
        for word in ["password", "secret1", "$DB_PASSWORD", "${PASS}", "<password>", "s3cret", "aaaa1111", "changeme1"]
        {
            assert!(!is_chosen(word.as_bytes()), "{word}");
        }
        for password in ["kT9wQz31", "correct-horse7", "Zx!81kdq"] {
            assert!(is_chosen(password.as_bytes()), "{password}");
        }
    }
}

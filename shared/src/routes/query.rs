//! Queries that carry a credential in a parameter: the client's own parameter of that name comes off, and a spelling that
//! only some servers would read as that name is refused. Never decodes or rewrites anything else of a query.

use super::path::fully_decoded;

/// The target without the parameter; `None` where it has none.
pub fn without(target: &str, parameter: &str) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    let is_own = |pair: &&str| name(pair) == parameter;
    query.split('&').find(is_own)?;
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_own(pair)).collect();
    Some(if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) })
}

/// The target with the parameter, whose value is encoded already, at its end.
pub fn with(target: &str, parameter: &str, encoded: &str) -> String {
    let sign = match target.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{target}{sign}{parameter}={encoded}")
}

/// Whether the query names the parameter in a way that some servers read as it and others don't: encoded, in other case,
/// with an index, behind a `;`, or in characters that some frameworks fold into one.
pub fn is_disguised(target: &str, parameter: &str) -> bool {
    let Some((_, query)) = target.split_once('?') else { return false };
    let folded = |byte: &u8| match byte {
        b'.' | b' ' | b'+' | b'-' => b'_',
        other => other.to_ascii_lowercase(),
    };
    let wanted: Vec<u8> = parameter.as_bytes().iter().map(folded).collect();
    query.split('&').filter(|pair| name(pair) != parameter).any(|pair| {
        fully_decoded(pair).split(|byte| matches!(byte, b';' | b'&' | b'?')).any(|part| {
            let end = part.iter().position(|byte| matches!(byte, b'=' | b'[' | 0)).unwrap_or(part.len());
            // A form's `+` is a space, and spaces around a name are cut off.
            let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'+';
            let start = part[..end].iter().position(|byte| !is_space(byte)).unwrap_or(end);
            let name = &part[start..end];
            let length = name.iter().rposition(|byte| !is_space(byte)).map_or(0, |last| last + 1);
            name[..length].iter().map(folded).eq(wanted.iter().copied())
        })
    })
}

/// What no query needs to encode (RFC 3986 §2.3), so that a parameter's name has one spelling.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !name.is_empty() && name.bytes().all(plain)
}

fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_comes_off_and_the_rest_stays_as_it_was() {
        for (target, expected) in [
            ("/x?key=1", Some("/x")),
            ("/x?a=%2f&key=1&b", Some("/x?a=%2f&b")),
            ("/x?key&key=2&key=", Some("/x")),
            ("/x?key=a;b=c&d", Some("/x?d")),
            ("/x?keys=1", None),
            ("/x?a=key", None),
            ("/key=1", None),
            ("/x?", None),
        ] {
            assert_eq!(without(target, "key").as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn a_parameter_is_put_at_the_end() {
        for (target, expected) in [("/x", "/x?key=v"), ("/x?", "/x?key=v"), ("/x?a=b", "/x?a=b&key=v")] {
            assert_eq!(with(target, "key", "v"), expected);
        }
    }

    #[test]
    fn spellings_that_some_servers_read_as_the_name_are_disguises() {
        for query in [
            "k%65y=1",
            "%6bey=1",
            "%256bey=1",
            "KEY=1",
            "Key=1",
            "key[]=1",
            "key[0]=1",
            "key%5b%5d=1",
            "a=1;key=2",
            "a;key",
            "a=1%26key=2",
            "a%3bkey=1",
            "+key=1",
            "key%20=1",
            "key%00=1",
            "a=b?key=1",
            "key%3d1",
        ] {
            assert!(is_disguised(&format!("/x?{query}"), "key"), "{query}");
        }
        assert!(is_disguised("/x?api.key=1", "api_key"));
        for query in ["key=1", "a=1&key=2", "keys=1", "monkey=1", "a=key", "key=%6bey", ""] {
            assert!(!is_disguised(&format!("/x?{query}"), "key"), "{query}");
        }
        assert!(!is_disguised("/KEY=1", "key"));
    }
}

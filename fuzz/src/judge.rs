//! The judge: what a rule grants is below what the rule says, with a method that it lists.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use shared::{
    authority::Authority,
    routes::{Dialect, Routes, Scheme, Subject, decode},
    yaml::Diagnostics,
};

static TABLE: LazyLock<Routes> = LazyLock::new(|| {
    let text = "routes:
      - {host: prefix.example, path_allowlist: [/user, /below/]}
      - host: match.example
        matches: [{methods: [GET, PURGE], paths: [{type: exact, value: /one}, {type: regex, value: '/n/[0-9]+'}]}]
      - {host: auth.example, auth: {scheme: Bearer, token_env: T}}
      - {host: '*.wild.example'}";
    decode(text, Dialect::Proxy, &mut Diagnostics::default()).expect("a valid table")
});

/// `AUTHORITY`, `METHOD`, `TARGET`, then fields as `name: value`, one in a line.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let Ok(authority) = Authority::parse(lines.next().unwrap_or_default(), 443) else { return };
    let (method, target) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut fields = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.trim().parse::<HeaderValue>()) {
            fields.append(name, value);
        }
    }
    for scheme in [Scheme::Http, Scheme::Https] {
        let subject = Subject { scheme, authority: &authority, method, target, fields: &fields };
        let Ok(grant) = TABLE.judge(&subject) else { continue };
        let path = subject.path();
        assert_eq!(authority.port, scheme.default_port());
        match grant.route.host.to_string().as_str() {
            "prefix.example" => {
                assert!(path == "/user" || path.starts_with("/user/") || path.starts_with("/below/"), "{path}");
            }
            "match.example" => {
                let number = path.strip_prefix("/n/").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
                assert!(path == "/one" || number, "{path}");
                assert!(["GET", "PURGE"].iter().any(|listed| listed.eq_ignore_ascii_case(method)), "{method}");
            }
            "auth.example" => assert_eq!(scheme, Scheme::Https),
            _ => {
                let host = authority.host.bare();
                assert!(host.len() > ".wild.example".len() && host.ends_with(".wild.example"), "{host}");
            }
        }
        assert!(!target.to_ascii_lowercase().contains("git-receive-pack"), "{target}");
    }
}

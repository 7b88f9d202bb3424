//! Host names, authorities and host patterns: parsed once, compared ever after. RFC 9110 §4.2, RFC 3986 §3.2.
//!
//! Never resolves a name, and never accepts a spelling that two parsers could read differently.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use thiserror::Error;

/// A DNS name in lower case and ASCII (IDNA), without a trailing dot, or an IP address.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Host {
    Ip(IpAddr),
    Name(Arc<str>),
}

impl Host {
    /// The name, or the address without brackets. A name is not copied for it.
    pub fn bare(&self) -> Cow<'_, str> {
        match self {
            Self::Ip(address) => Cow::Owned(address.to_string()),
            Self::Name(name) => Cow::Borrowed(name),
        }
    }

    /// As it is shown; a name is not copied for it.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Ip(_) => Cow::Owned(self.to_string()),
            Self::Name(name) => Cow::Borrowed(name),
        }
    }
}

impl FromStr for Host {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().map_err(|_| AuthorityError::Address(text.to_owned()))?;
            return Ok(Self::Ip(address.into()));
        }
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.is_empty() {
            return Err(AuthorityError::Empty);
        }
        if let Ok(address) = bare.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        if is_plain_name(bare) {
            return Ok(Self::Name(bare.into()));
        }
        let name = idna::domain_to_ascii_cow(bare.as_bytes(), idna::AsciiDenyList::URL)
            .map_err(|_| AuthorityError::Name(text.to_owned()))?;
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        if !is_plain_name(&name) {
            return Err(AuthorityError::Name(text.to_owned()));
        }
        Ok(Self::Name(name.as_ref().into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host and a port; the port is always explicit.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Authority {
    pub host: Host,
    pub port: u16,
}

impl Authority {
    pub fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// Reads `host` or `host:port`; the port is `default_port` where it is absent.
    ///
    /// # Errors
    /// User information, an empty or zero port and a name that is no host name are refused.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInformation);
        }
        let colon = match text.rfind(']') {
            Some(bracket) => text[bracket..].find(':').map(|index| bracket + index),
            None => text.find(':'),
        };
        let Some(colon) = colon else {
            return Ok(Self { host: text.parse()?, port: default_port });
        };
        let (host, port) = (&text[..colon], &text[colon + 1..]);
        Ok(Self { host: host.parse()?, port: parse_port(port)? })
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    /// Reads `host:port` (RFC 9112 §3.2.3); the port must be there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::parse(text, 0)? {
            Self { port: 0, .. } => Err(AuthorityError::PortMissing(text.to_owned())),
            authority => Ok(authority),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Which hosts a route is for: one host, or all subdomains of a name at any depth and never the name itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostPattern {
    Exact(Host),
    /// Holds the part after `*.`.
    Wildcard(Arc<str>),
}

impl HostPattern {
    /// As it is shown; a host's name is not copied for it.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Exact(host) => host.text(),
            Self::Wildcard(_) => Cow::Owned(self.to_string()),
        }
    }

    pub fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::Wildcard(suffix), Host::Name(name)) => {
                name.strip_suffix(suffix.as_ref()).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
            }
            (Self::Wildcard(_), Host::Ip(_)) => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Err(AuthorityError::BareWildcard);
        }
        let Some(suffix) = text.strip_prefix("*.") else {
            if text.contains('*') {
                return Err(AuthorityError::Wildcard(text.to_owned()));
            }
            return text.parse().map(Self::Exact);
        };
        match suffix.parse()? {
            Host::Name(name) if name.contains('.') => Ok(Self::Wildcard(name)),
            _ => Err(AuthorityError::Wildcard(text.to_owned())),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// Why a text is no host, authority or host pattern.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum AuthorityError {
    #[error("`{0}` is no IP address")]
    Address(String),
    #[error("a bare `*` would grant every host; name the hosts, or use `*.example.com`")]
    BareWildcard,
    #[error("the host is empty")]
    Empty,
    #[error("`{0}` is no host name")]
    Name(String),
    #[error("`{0}` is no port")]
    Port(String),
    #[error("`{0}` has no port")]
    PortMissing(String),
    #[error("user information has no place in an authority")]
    UserInformation,
    #[error("`{0}`: a wildcard stands for whole labels at the start, as in `*.example.com`")]
    Wildcard(String),
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(AuthorityError::Port(text.to_owned())),
    }
}

/// Whether `name` is a lower-case host name already. A last label that is a number is refused: some resolvers read
/// `127.1` or `0x7f000001` as an address.
fn is_plain_name(name: &str) -> bool {
    if name.len() > 253 {
        return false;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    !numeric && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        for (text, expected) in [
            ("API.Example.COM", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("_egress-proxy.local", "_egress-proxy.local"),
        ] {
            assert_eq!(text.parse::<Host>().map(|host| host.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn ambiguous_hosts_are_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "-a.example",
            "127.1",
            "0x7f000001",
            "1.2.3.4.5",
            "2130706433",
            "0177.0.0.1",
            "a b",
            "a/b",
            "[::1",
            "[fe80::1%25eth0]",
            "::1",
            "a\u{0}b",
            "exa mple.com",
            "a%2eb",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[test]
    fn authorities_need_a_port_that_is_one() {
        assert_eq!("a.example:443".parse::<Authority>().unwrap().to_string(), "a.example:443");
        assert_eq!("[::1]:8443".parse::<Authority>().unwrap().to_string(), "[::1]:8443");
        for text in ["a.example", "a.example:", "a.example:0", "a.example:65536", "a.example:+443", "u@a.example:443"] {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
        assert_eq!(Authority::parse("a.example", 443).unwrap().port, 443);
    }

    #[test]
    fn wildcards_cover_subdomains_and_never_the_apex() {
        let pattern: HostPattern = "*.example.com".parse().unwrap();
        for (host, covered) in
            [("a.example.com", true), ("a.b.example.com", true), ("example.com", false), ("badexample.com", false)]
        {
            assert_eq!(pattern.covers(&host.parse().unwrap()), covered, "{host}");
        }
        for text in ["*", "*.com", "a.*.com", "*example.com", "**.example.com"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }
}

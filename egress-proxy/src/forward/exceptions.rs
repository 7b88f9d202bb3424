//! Origins that are reached directly although there is an upstream proxy, in the manner of `NO_PROXY`.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use shared::authority::{Authority, Host};
use thiserror::Error;

/// A list of exceptions; any of them is enough.
#[derive(Clone, Debug, Default)]
pub struct Exceptions(Vec<Exception>);

/// `example.com` (and what is below it), `.example.com` (only that), an address, a range; each with `:PORT` or without.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Hosts {
    Name(String),
    Below(String),
    Range(IpNet),
}

impl Exceptions {
    pub fn new(exceptions: Vec<Exception>) -> Self {
        Self(exceptions)
    }

    /// Whether this origin is among them. A range covers requests that name an address; names are not resolved for it.
    pub fn cover(&self, authority: &Authority) -> bool {
        self.0.iter().any(|exception| exception.covers(authority))
    }
}

impl Exception {
    fn covers(&self, authority: &Authority) -> bool {
        let host = match (&self.hosts, &authority.host) {
            (Hosts::Range(range), Host::Ip(address)) => range.contains(address),
            (Hosts::Name(name), Host::Name(host)) => **host == **name || is_below(host, name),
            (Hosts::Below(name), Host::Name(host)) => is_below(host, name),
            _ => false,
        };
        host && self.port.is_none_or(|port| port == authority.port)
    }
}

fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}

impl FromStr for Exception {
    type Err = ExceptionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ExceptionError(text.to_owned());
        if let Ok(range) = text.parse::<IpNet>() {
            return Ok(Self { hosts: Hosts::Range(range), port: None });
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self { hosts: Hosts::Range(address.into()), port: None });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let below = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
        let hosts = match below.unwrap_or(name).parse::<Host>().map_err(|_| wrong())? {
            Host::Name(name) if below.is_some() => Hosts::Below(name.to_string()),
            Host::Name(name) => Hosts::Name(name.to_string()),
            Host::Ip(address) if below.is_none() => Hosts::Range(address.into()),
            Host::Ip(_) => return Err(wrong()),
        };
        Ok(Self { hosts, port })
    }
}

/// An exception that cannot be read.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("`{0}` is no exception; write a host, `.domain`, an address or a range, with `:PORT` if need be")]
pub struct ExceptionError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_cover_what_they_name() {
        let list =
            ["example.com", ".internal.test", "*.corp.test", "10.0.0.0/8", "::1", "other.test:8443", "[::2]:443"];
        let list = Exceptions::new(list.map(|text| text.parse().unwrap()).to_vec());
        for (authority, covered) in [
            ("example.com:443", true),
            ("a.b.example.com:80", true),
            ("notexample.com:443", false),
            ("example.com.evil.test:443", false),
            ("internal.test:443", false),
            ("a.internal.test:443", true),
            ("a.corp.test:443", true),
            ("10.1.2.3:443", true),
            ("11.1.2.3:443", false),
            ("[::1]:443", true),
            ("[::2]:443", true),
            ("[::2]:444", false),
            ("other.test:8443", true),
            ("other.test:443", false),
        ] {
            let parsed = Authority::parse(authority, 443).unwrap();
            assert_eq!(list.cover(&parsed), covered, "{authority}");
        }
    }

    #[test]
    fn what_is_no_exception_is_an_error() {
        for text in ["", "*", ".", "a b", "example.com:x", "*.10.0.0.1", "http://example.com"] {
            assert!(text.parse::<Exception>().is_err(), "{text}");
        }
    }
}

//! The request target in its forms (RFC 9112 §3.2): what a client of a forward proxy asked for.

use http::{HeaderMap, Method, Uri, header, uri::PathAndQuery};
use shared::{
    authority::{Authority, AuthorityError, Host},
    routes::Scheme,
};
use thiserror::Error;

/// What the first line of a request to the proxy means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequestTarget {
    /// `http://host/path`: an exchange in clear.
    Absolute { authority: Authority, scheme: Scheme },
    /// `CONNECT host:port`: a tunnel.
    Tunnel(Authority),
}

impl RequestTarget {
    /// # Errors
    /// The target is none that a forward proxy serves.
    pub fn of(method: &Method, uri: &Uri) -> Result<Self, TargetError> {
        let text = uri.authority().map(http::uri::Authority::as_str);
        if method == Method::CONNECT {
            let text = text.filter(|_| uri.scheme().is_none()).ok_or(TargetError::ConnectForm)?;
            return Ok(Self::Tunnel(text.parse()?));
        }
        let (Some(scheme), Some(text)) = (uri.scheme_str(), text) else {
            return Err(TargetError::OriginForm);
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => return Err(TargetError::AbsoluteHttps),
            other => return Err(TargetError::Scheme(other.to_owned())),
        };
        Ok(Self::Absolute { authority: Authority::parse(text, scheme.default_port())?, scheme })
    }
}

/// The authority that an intercepted request names for itself, by `:authority` or `Host` or both.
///
/// # Errors
/// None, several or different ones.
pub fn named_authority(uri: &Uri, fields: &HeaderMap, default_port: u16) -> Result<Authority, TargetError> {
    let mut hosts = fields.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(TargetError::SeveralHosts);
    }
    let host = match host {
        Some(value) => {
            let text = value.to_str().map_err(|_| TargetError::HostField)?;
            Some(Authority::parse(text, default_port)?)
        }
        None => None,
    };
    let uri = match uri.authority() {
        Some(text) => Some(Authority::parse(text.as_str(), default_port)?),
        None => None,
    };
    match (uri, host) {
        (Some(uri), Some(host)) if uri != host => Err(TargetError::Disagree),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Err(TargetError::HostMissing),
    }
}

/// Whether a request names `authority`, and nothing else, spelled as we would: a cheap look that spares most requests
/// the parsing. `false` says nothing.
pub fn names_plainly(uri: &Uri, fields: &HeaderMap, authority: &Authority, default_port: u16) -> bool {
    let mut hosts = fields.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let is_plain = |text: &[u8]| is_plain(text, authority, default_port);
    match (uri.authority(), host) {
        (None, None) => false,
        (named, host) => {
            another.is_none()
                && named.is_none_or(|named| is_plain(named.as_str().as_bytes()))
                && host.is_none_or(|host| is_plain(host.as_bytes()))
        }
    }
}

fn is_plain(text: &[u8], authority: &Authority, default_port: u16) -> bool {
    let Host::Name(name) = &authority.host else { return false };
    match text.strip_prefix(name.as_bytes()) {
        Some([]) => authority.port == default_port,
        Some([b':', port @ ..]) => {
            let digits = matches!(port, [b'1'..=b'9', ..]) && port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
            digits
                && port.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0')) == u32::from(authority.port)
        }
        _ => false,
    }
}

/// Path and query as sent; `*` of `OPTIONS *` stays.
pub fn path_and_query(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Writes another path and query into a target.
///
/// # Errors
/// The target would be too long, or holds what no target may.
pub fn replace(uri: &mut Uri, path_and_query: &str) -> Result<(), TargetError> {
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path_and_query.parse().map_err(|_| TargetError::TooLong)?);
    *uri = Uri::from_parts(parts).map_err(|_| TargetError::TooLong)?;
    Ok(())
}

/// Why a request has no target that the proxy serves.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TargetError {
    #[error("`https://` in absolute form; ask with CONNECT, so that the proxy can end your TLS")]
    AbsoluteHttps,
    #[error("the authority is not valid: {0}")]
    Authority(#[from] AuthorityError),
    #[error("CONNECT needs a target of the form `host:port`")]
    ConnectForm,
    #[error("`:authority` and `Host` name different authorities")]
    Disagree,
    #[error("`Host` is no text")]
    HostField,
    #[error("the request names no host")]
    HostMissing,
    #[error("the target has no host; this is a forward proxy: set it as `HTTPS_PROXY` and `HTTP_PROXY`")]
    OriginForm,
    #[error("the scheme `{0}` is not served; only `http://`, and `https://` through CONNECT")]
    Scheme(String),
    #[error("more than one `Host` field")]
    SeveralHosts,
    #[error("the target has no room for the credential's parameter")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_plain_name_is_the_same_as_a_parsed_one() {
        let authority: Authority = "a.example:8443".parse().unwrap();
        for (target, hosts, plain) in [
            ("/", &["a.example:8443"][..], true),
            ("https://a.example:8443/", &[], true),
            ("https://a.example:8443/", &["a.example:8443"], true),
            ("/", &[], false),
            ("/", &["a.example"], false),
            ("/", &["a.example:08443"], false),
            ("/", &["a.example:+8443"], false),
            ("/", &["a.example.evil:8443"], false),
            ("/", &["a.example:8443", "a.example:8443"], false),
            ("https://a.example:8443/", &["b.example:8443"], false),
            ("https://b.example:8443/", &["a.example:8443"], false),
        ] {
            let mut fields = HeaderMap::new();
            for host in hosts {
                fields.append(header::HOST, HeaderValue::from_static(host));
            }
            let uri: Uri = target.parse().unwrap();
            assert_eq!(names_plainly(&uri, &fields, &authority, 443), plain, "{target} {hosts:?}");
            let parsed = named_authority(&uri, &fields, 443).is_ok_and(|named| named == authority);
            assert!(parsed || !plain, "{target} {hosts:?}");
        }
    }

    #[test]
    fn only_targets_of_a_forward_proxy_are_read() {
        let of = |method: &str, uri: &str| RequestTarget::of(&method.parse().unwrap(), &uri.parse().unwrap());
        assert!(matches!(of("CONNECT", "a.example:443"), Ok(RequestTarget::Tunnel(_))));
        assert!(matches!(of("GET", "http://a.example/x"), Ok(RequestTarget::Absolute { .. })));
        assert_eq!(of("GET", "https://a.example/x"), Err(TargetError::AbsoluteHttps));
        assert_eq!(of("GET", "/x"), Err(TargetError::OriginForm));
        assert_eq!(of("GET", "ftp://a.example/x"), Err(TargetError::Scheme("ftp".to_owned())));
        assert!(of("CONNECT", "a.example").is_err());
        assert!(of("CONNECT", "u@a.example:443").is_err());
        assert_eq!(of("CONNECT", "http://a.example:443/"), Err(TargetError::ConnectForm));
    }
}

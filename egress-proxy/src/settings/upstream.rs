//! Flags for the way to origins.

use std::{path::PathBuf, str::FromStr};

use clap::Args;

use super::SettingsError;
use crate::forward::{Exception, UpstreamAddress};

/// The name under which the upstream proxy's credential is looked up, on stdin and then in the environment.
pub const CREDENTIAL_VARIABLE: &str = "EGRESS_PROXY_UPSTREAM_CREDENTIAL";

/// How origins are reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Origins")]
pub struct UpstreamArgs {
    /// How origins are reached: `direct`, or `http://HOST:PORT` of an HTTP proxy that is asked to CONNECT to them. It then
    /// resolves their names, so that private addresses behind names are its business. Its credential, `user:password`, is
    /// `EGRESS_PROXY_UPSTREAM_CREDENTIAL` of the environment or among the tokens on stdin.
    #[arg(long, value_name = "HOP", default_value = "direct")]
    pub upstream: Hop,

    /// A file with the upstream proxy's credential, `user:password`; read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub upstream_credential_file: Option<PathBuf>,

    /// Origins that are reached directly all the same: a host and what is below it, `.domain`, an address or a range, each
    /// with `:PORT` or without. Separated by commas, repeatable.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub upstream_except: Vec<Exception>,

    /// Further root certificates for origins, PEM: also those of an upstream proxy that intercepts. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Vec<PathBuf>,
}

/// The value of `--upstream`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hop {
    /// Origins are dialled by the proxy itself.
    Direct,
    Proxy(UpstreamAddress),
}

impl FromStr for Hop {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "direct" {
            return Ok(Self::Direct);
        }
        // Not repeated: it may hold a password.
        if text.contains('@') {
            return Err(SettingsError::UpstreamCredential);
        }
        let wrong = || SettingsError::Upstream(text.to_owned());
        let authority = text.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let authority = shared::authority::Authority::parse(authority, 3128).map_err(|_| wrong())?;
        Ok(Self::Proxy(UpstreamAddress { host: authority.host.bare().into_owned(), port: authority.port }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_direct_or_an_http_proxy_without_a_credential_in_sight() {
        assert_eq!("direct".parse::<Hop>().unwrap(), Hop::Direct);
        let proxy = UpstreamAddress { host: "proxy.corp.test".to_owned(), port: 3128 };
        assert_eq!("http://proxy.corp.test/".parse::<Hop>().unwrap(), Hop::Proxy(proxy));
        let error = "http://user:secret@proxy.corp.test:3128".parse::<Hop>().unwrap_err();
        assert!(!error.to_string().contains("secret") && error.to_string().contains(CREDENTIAL_VARIABLE), "{error}");
        for text in ["", "proxy:3128", "https://proxy:3128", "socks5://proxy:1", "http://", "http://a/b"] {
            assert!(text.parse::<Hop>().is_err(), "{text}");
        }
    }
}

//! What an operator can set, resolved from flags and environment into what the proxy is built from.

mod answers;
mod limits;
mod log;

pub mod upstream;

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use thiserror::Error;

use self::upstream::{CREDENTIAL_VARIABLE, UpstreamArgs};
pub use self::{
    answers::{AnswerArgs, AnswerMode},
    limits::LimitArgs,
    log::LogArgs,
};

/// Run the proxy until SIGTERM or SIGINT.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Where clients connect: `IP:PORT`, or `CIDR:PORT` for this machine's address in that network.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9099")]
    pub listen: ListenAddress,

    /// The route table (YAML). Read again when it changes and on SIGHUP; a broken one leaves the old in force.
    #[arg(long, value_name = "FILE", required_unless_present = "stdin")]
    pub routes: Option<PathBuf>,

    /// The bottle's certificate authority: its certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "ca_key", conflicts_with = "ca_dir")]
    pub ca_cert: Option<PathBuf>,

    /// The authority's key, PEM (PKCS#8).
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    pub ca_key: Option<PathBuf>,

    /// A folder with `ca.pem` and `ca-key.pem`; made with a new authority if absent.
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,

    /// Read routes, authority and secrets from stdin: one JSON document a line; a later one replaces what it names.
    #[arg(long)]
    pub stdin: bool,

    #[command(flatten)]
    pub upstream: UpstreamArgs,

    /// Opens a range of private addresses for origins. Repeatable.
    #[arg(long, value_name = "CIDR", help_heading = "Origins")]
    pub allow_upstream_cidr: Vec<IpNet>,

    /// Ask this inspector (pipelock) about every request: `http://HOST:PORT`.
    #[arg(long, value_name = "URL", requires = "inspect_listen", help_heading = "Inspection")]
    pub inspect: Option<InspectorUrl>,

    /// Where the inspector brings exchanges back (the inner face): `IP:PORT` or `CIDR:PORT`.
    #[arg(long, value_name = "ADDR", requires = "inspect", help_heading = "Inspection")]
    pub inspect_listen: Option<ListenAddress>,

    /// The inner face as the inspector dials it, if not the listen address.
    #[arg(long, value_name = "HOST:PORT", requires = "inspect", help_heading = "Inspection")]
    pub inspect_return: Option<String>,

    /// How far an exchange goes through the inspector.
    #[arg(long, value_name = "MODE", default_value = "request", requires = "inspect", help_heading = "Inspection")]
    pub inspect_mode: InspectModeArg,

    /// What the inspector's log calls this proxy.
    #[arg(long, value_name = "NAME", default_value = "bottle", requires = "inspect", help_heading = "Inspection")]
    pub inspect_agent: String,

    /// What a finding of the built-in scan does.
    #[arg(long, value_name = "MODE", default_value = "block", help_heading = "Scan")]
    pub scan: ScanModeArg,

    /// A rules file of your own for the scan, in gitleaks' format.
    #[arg(long, value_name = "FILE", help_heading = "Scan")]
    pub scan_rules: Option<PathBuf>,

    /// Serve `/healthz`, `/readyz`, `/metrics` and `/records`: on loopback, where `watch` and `healthcheck` look for them,
    /// unless an address is named.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = ADMIN)]
    pub admin: Option<SocketAddr>,

    #[command(flatten)]
    pub answers: AnswerArgs,

    #[command(flatten)]
    pub log: LogArgs,

    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Where the admin listener is when no address is named: [`shared::contract::ADMIN_PORT`] on loopback.
const ADMIN: &str = "127.0.0.1:9097";

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum InspectModeArg {
    /// Requests are asked about; answers go straight to the client.
    Request,
    /// Answers are asked about too: events one by one, everything else once it is whole.
    Exchange,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ScanModeArg {
    /// The request is refused.
    Block,
    /// The finding is written into the record.
    Record,
    /// Nothing is scanned.
    Off,
}

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddress {
    /// This machine's address in a network.
    Network(IpNet, u16),
    Socket(SocketAddr),
}

impl ListenAddress {
    /// The socket address to bind.
    ///
    /// # Errors
    /// This machine has no address in the network.
    pub fn resolve(&self) -> Result<SocketAddr, SettingsError> {
        match self {
            Self::Socket(address) => Ok(*address),
            Self::Network(network, port) => {
                let address = own_address(network).ok_or(SettingsError::NoAddressIn(*network))?;
                Ok(SocketAddr::new(address, *port))
            }
        }
    }

    /// The network, where one was named.
    pub fn network(&self) -> Option<IpNet> {
        match self {
            Self::Network(network, _) => Some(*network),
            Self::Socket(_) => None,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || SettingsError::Listen(text.to_owned());
        if text.contains('/') {
            let (network, port) = text.rsplit_once(':').ok_or_else(wrong)?;
            let network: IpNet = network.parse().map_err(|_| wrong())?;
            return Ok(Self::Network(network.trunc(), port.parse().map_err(|_| wrong())?));
        }
        text.parse().map(Self::Socket).map_err(|_| wrong())
    }
}

/// The address that this machine has in a network: the one the kernel would send from. Nothing is sent.
fn own_address(network: &IpNet) -> Option<IpAddr> {
    let any: IpAddr = match network {
        IpNet::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpNet::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let neighbour = network.hosts().next()?;
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((neighbour, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| network.contains(address))
}

/// `http://HOST:PORT` of an inspector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InspectorUrl {
    pub host: String,
    pub port: u16,
}

impl FromStr for InspectorUrl {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || SettingsError::Inspector(text.to_owned());
        let authority = text.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let authority = shared::authority::Authority::parse(authority, 8888).map_err(|_| wrong())?;
        Ok(Self { host: authority.host.bare().into_owned(), port: authority.port })
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum SettingsError {
    #[error("`{0}` is no inspector; write it as `http://pipelock:8888`")]
    Inspector(String),
    #[error("`{0}` is no listen address; write `127.0.0.1:9099`, or `10.0.0.0/24:9099` for the address in a network")]
    Listen(String),
    #[error("this machine has no address in {0}")]
    NoAddressIn(IpNet),
    #[error("`{0}` is no way to origins; write `direct`, or `http://HOST:PORT` of an HTTP proxy")]
    Upstream(String),
    #[error(
        "an upstream proxy's credential does not belong into its URL, where every process sees it; put `user:password` into a file for `--upstream-credential-file`, or into `{CREDENTIAL_VARIABLE}`"
    )]
    UpstreamCredential,
    #[error("`{0}` is for an upstream proxy; add `--upstream http://HOST:PORT`")]
    UpstreamMissing(&'static str),
    #[error(
        "the inner face listens on a wildcard address; say with `--inspect-return HOST:PORT` what the inspector dials"
    )]
    ReturnUnknown,
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use shared::contract::ADMIN_PORT;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn the_admin_listener_is_on_loopback_unless_an_address_is_named() {
        let admin = |args: &[&str]| {
            let line = [&["run", "--routes", "routes.yaml"], args].concat();
            Line::try_parse_from(line).map(|line| line.run.admin).map_err(|error| error.kind())
        };
        assert_eq!(admin(&[]), Ok(None));
        assert_eq!(admin(&["--admin"]), Ok(Some(([127, 0, 0, 1], ADMIN_PORT).into())));
        assert_eq!(admin(&["--admin", "10.0.0.1:1"]), Ok(Some(([10, 0, 0, 1], 1).into())));
        assert!(admin(&["--admin", "9097"]).is_err());
    }

    #[test]
    fn a_listen_address_may_be_a_network() {
        let address: ListenAddress = "127.0.0.0/8:9099".parse().unwrap();
        assert_eq!(address.resolve().unwrap(), "127.0.0.1:9099".parse().unwrap());
        assert_eq!("127.0.0.1:1".parse::<ListenAddress>().unwrap().resolve().unwrap().port(), 1);
        let elsewhere: ListenAddress = "192.0.2.128/28:9099".parse().unwrap();
        assert!(matches!(elsewhere.resolve(), Err(SettingsError::NoAddressIn(_))));
        for text in ["", "9099", "127.0.0.1", "10.0.0.0/33:1", "localhost:1"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}

//! Connections out: the only place that opens one. [`Dialer::origin`] demands a [`RequestPermit`], resolves, refuses
//! prohibited addresses and connects to exactly the addresses that it checked; [`configured`] is for what the operator
//! named himself.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_user_timeout};
use shared::authority::{Authority, Host};
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

use crate::policy::RequestPermit;

/// How long a connection may be silent before its peer is asked whether it is there, and asked again.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a peer may leave what was sent unacknowledged, or take nothing of it.
const GONE: Duration = Duration::from_secs(120);

/// Resolves and connects to origins.
pub struct Dialer {
    resolver: Option<TokioResolver>,
    addresses: AddressPolicy,
    connect_timeout: Duration,
}

impl Dialer {
    /// The resolver is the system's configuration (`/etc/resolv.conf`, `/etc/hosts`) read in Rust; a machine without
    /// one still reaches address literals.
    pub fn new(addresses: AddressPolicy, connect_timeout: Duration) -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            let options = builder.options_mut();
            options.use_hosts_file = ResolveHosts::Always;
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            options.timeout = Duration::from_secs(3);
            options.attempts = 2;
            builder.build()
        });
        Self { resolver: resolver.ok(), addresses, connect_timeout }
    }

    /// Connects to the permit's authority; the stream has `TCP_NODELAY` set.
    ///
    /// # Errors
    /// The name does not resolve, every address is prohibited, or none answers in time.
    pub async fn origin(&self, permit: &RequestPermit) -> Result<TcpStream, DialError> {
        let authority: &Authority = permit.authority();
        let addresses = self.resolve(authority).await?;
        let mut prohibited = None;
        let checked: Vec<SocketAddr> = addresses
            .into_iter()
            .filter(|address| match self.addresses.check(*address) {
                Ok(()) => true,
                Err(error) => {
                    prohibited = Some(error);
                    false
                }
            })
            .collect();
        match prohibited {
            Some(error) if checked.is_empty() => return Err(error),
            _ => {}
        }
        let connect = connect_any(interleaved(checked));
        timeout(self.connect_timeout, connect)
            .await
            .map_err(|_| DialError::Timeout(authority.clone()))?
            .map_err(|source| DialError::Connect { authority: authority.clone(), source })
    }

    /// For a next hop that resolves names by itself: refuses a request that names a prohibited address.
    ///
    /// # Errors
    /// The address is prohibited.
    pub fn admit_literal(&self, permit: &RequestPermit) -> Result<(), DialError> {
        match permit.authority().host {
            Host::Ip(address) => self.addresses.check(SocketAddr::new(address, permit.authority().port)),
            Host::Name(_) => Ok(()),
        }
    }

    async fn resolve(&self, authority: &Authority) -> Result<Vec<SocketAddr>, DialError> {
        let name = match &authority.host {
            Host::Ip(address) => return Ok(vec![SocketAddr::new(*address, authority.port)]),
            Host::Name(name) => name,
        };
        let failed = |reason: String| DialError::Resolve { name: name.to_string(), reason };
        let resolver = self.resolver.as_ref().ok_or_else(|| failed("no resolver is configured".to_owned()))?;
        // The final dot keeps search domains out: `api.example` is never `api.example.corp.internal`.
        let lookup = resolver.lookup_ip(format!("{name}.")).await.map_err(|error| failed(error.to_string()))?;
        Ok(lookup.iter().map(|address| SocketAddr::new(address, authority.port)).collect())
    }
}

/// Connects to what the operator's configuration names: an inspector or an HTTP proxy. No address is prohibited.
///
/// # Errors
/// The name does not resolve, or nobody answers in time.
pub async fn configured(host: &str, port: u16, limit: Duration) -> Result<TcpStream, std::io::Error> {
    let connect = async {
        let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                let mut builder = TokioResolver::builder_tokio().map_err(std::io::Error::other)?;
                builder.options_mut().use_hosts_file = ResolveHosts::Always;
                let resolver = builder.build().map_err(std::io::Error::other)?;
                let lookup = resolver.lookup_ip(host).await.map_err(std::io::Error::other)?;
                lookup.iter().map(|address| SocketAddr::new(address, port)).collect()
            }
        };
        connect_any(addresses).await
    };
    timeout(limit, connect).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

/// Which addresses origins may have.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Opened by the operator (`--allow-upstream-cidr`).
    pub allowed: Vec<IpNet>,
    /// Ours: the agent's and the inspection network. Nothing opens them.
    pub closed: Vec<IpNet>,
    /// Our own listeners.
    pub own: Vec<SocketAddr>,
}

impl AddressPolicy {
    fn check(&self, address: SocketAddr) -> Result<(), DialError> {
        let effective = effective(address.ip());
        let inside = |ranges: &[IpNet], ip: &IpAddr| ranges.iter().any(|range| range.contains(ip));
        // A listener on all addresses is on every one of this machine's, none of which is public as a rule.
        let is_own = |own: &SocketAddr| {
            let everywhere = own.ip().is_unspecified() && prohibited(effective).is_some();
            own.port() == address.port() && (everywhere || own.ip() == effective)
        };
        if self.own.iter().any(is_own) || inside(&self.closed, &effective) {
            return Err(DialError::Prohibited { address: address.ip(), why: "it belongs to the bottle itself" });
        }
        match prohibited(effective) {
            Some(why) if !inside(&self.allowed, &effective) => {
                Err(DialError::Prohibited { address: address.ip(), why })
            }
            _ => Ok(()),
        }
    }
}

/// The IPv4 address that an IPv6 one stands for (mapped, compatible, NAT64, 6to4), or the address itself.
fn effective(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let segments = v6.segments();
    let [.., a, b] = segments;
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0xffff | 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => embedded(a, b),
        [0x2002, high, low, ..] => embedded(high, low),
        _ => address,
    }
}

/// Why an address is no public unicast address (IANA special-purpose registries), if so.
fn prohibited(address: IpAddr) -> Option<&'static str> {
    const V4: [(Ipv4Net, &str); 13] = [
        (v4(169, 254, 169, 254, 32), "a cloud's metadata service"),
        (v4(0, 0, 0, 0, 8), "this network"),
        (v4(10, 0, 0, 0, 8), "private"),
        (v4(100, 64, 0, 0, 10), "shared address space"),
        (v4(127, 0, 0, 0, 8), "loopback"),
        (v4(169, 254, 0, 0, 16), "link-local"),
        (v4(172, 16, 0, 0, 12), "private"),
        (v4(192, 0, 0, 0, 24), "reserved"),
        (v4(192, 0, 2, 0, 24), "documentation"),
        (v4(192, 168, 0, 0, 16), "private"),
        (v4(198, 18, 0, 0, 15), "benchmarking"),
        (v4(224, 0, 0, 0, 4), "multicast"),
        (v4(240, 0, 0, 0, 4), "reserved"),
    ];
    const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    const DOCUMENTATION: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32);
    const TEREDO: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);
    match address {
        IpAddr::V4(address) => V4.iter().find(|(range, _)| range.contains(&address)).map(|(_, why)| *why),
        IpAddr::V6(address) if address.is_loopback() => Some("loopback"),
        IpAddr::V6(address) if !GLOBAL_UNICAST.contains(&address) => Some("not global unicast"),
        IpAddr::V6(address) if DOCUMENTATION.contains(&address) => Some("documentation"),
        IpAddr::V6(address) if TEREDO.contains(&address) => Some("a tunnel's address"),
        IpAddr::V6(_) => None,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// IPv6 and IPv4 in turn, IPv6 first (RFC 8305 §4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut order = Vec::new();
    loop {
        match (v6.next(), v4.next()) {
            (None, None) => return order,
            (first, second) => order.extend(first.into_iter().chain(second)),
        }
    }
}

/// Tries addresses in order, the next one when the last has not answered within 250 ms (RFC 8305 §5); the first to
/// answer wins.
async fn connect_any(addresses: Vec<SocketAddr>) -> std::io::Result<TcpStream> {
    const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
    let mut addresses = addresses.into_iter();
    let mut attempts = Vec::new();
    let mut failure = std::io::Error::new(std::io::ErrorKind::NotFound, "no address");
    loop {
        let next = addresses.next();
        let last = next.is_none();
        attempts.extend(next.map(|address| Box::pin(TcpStream::connect(address))));
        if attempts.is_empty() {
            return Err(failure);
        }
        let first = first_of(&mut attempts);
        match if last { Ok(first.await) } else { timeout(ATTEMPT_DELAY, first).await } {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                keep_alive(&stream);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => {}
        }
    }
}

/// Lets the kernel ask a peer that is silent for long whether it is there, and end a connection when that, or what was sent,
/// is not acknowledged. Servers of gRPC close connections on which a client asks that often by h2's PING.
fn keep_alive(stream: &TcpStream) {
    // Where one of these is not to be had, the exchange goes on without.
    let _asks = set_socket_keepalive(stream, true)
        .and_then(|()| set_tcp_keepidle(stream, SILENCE))
        .and_then(|()| set_tcp_keepintvl(stream, SILENCE))
        .and_then(|()| set_tcp_user_timeout(stream, GONE.as_millis() as u32));
}

/// What the first attempt to end has come to; it is taken out.
async fn first_of<T>(attempts: &mut Vec<Pin<Box<impl Future<Output = T>>>>) -> T {
    poll_fn(|cx| {
        for place in 0..attempts.len() {
            if let Poll::Ready(done) = attempts[place].as_mut().poll(cx) {
                drop(attempts.swap_remove(place));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}

/// Why no connection came about.
#[derive(Debug, Error)]
pub enum DialError {
    #[error("failed to connect to {authority}")]
    Connect { authority: Authority, source: std::io::Error },
    #[error("the address {address} may not be dialled: {why}")]
    Prohibited { address: IpAddr, why: &'static str },
    #[error("the name `{name}` does not resolve: {reason}")]
    Resolve { name: String, reason: String },
    #[error("{0} did not answer in time")]
    Timeout(Authority),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(policy: &AddressPolicy, address: &str) -> bool {
        policy.check(SocketAddr::new(address.parse().unwrap(), 443)).is_ok()
    }

    #[tokio::test]
    async fn the_kernel_asks_a_silent_origin_whether_it_is_there() {
        use rustix::net::sockopt::{socket_keepalive, tcp_keepidle, tcp_keepintvl, tcp_user_timeout};

        let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect_any(vec![origin.local_addr().unwrap()]).await.unwrap();
        assert!(stream.nodelay().unwrap() && socket_keepalive(&stream).unwrap());
        assert_eq!([tcp_keepidle(&stream).unwrap(), tcp_keepintvl(&stream).unwrap()], [SILENCE; 2]);
        assert_eq!(tcp_user_timeout(&stream).unwrap(), 120_000);
    }

    #[test]
    fn only_public_unicast_addresses_are_dialled() {
        let policy = AddressPolicy::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::1",
            "2001:db8::1",
            "2001::1",
            "fec0::1",
            "fd00:ec2::254",
        ] {
            assert!(!verdict(&policy, address), "{address}");
        }
        for address in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(verdict(&policy, address), "{address}");
        }
    }

    #[test]
    fn ranges_open_on_demand_and_the_bottle_itself_never() {
        let policy = AddressPolicy {
            allowed: vec!["10.0.0.0/8".parse().unwrap()],
            closed: vec!["10.9.0.0/16".parse().unwrap()],
            own: vec!["10.1.0.1:443".parse().unwrap()],
        };
        for (address, open) in [
            ("10.1.2.3", true),
            ("10.9.1.1", false),
            ("10.1.0.1", false),
            ("192.168.0.1", false),
            ("::ffff:10.9.0.1", false),
            ("::ffff:10.1.0.1", false),
        ] {
            assert_eq!(verdict(&policy, address), open, "{address}");
        }
        let everywhere = AddressPolicy { own: vec!["0.0.0.0:443".parse().unwrap()], ..policy };
        for (address, open) in [("10.1.2.3", false), ("::ffff:10.1.2.3", false), ("1.1.1.1", true)] {
            assert_eq!(verdict(&everywhere, address), open, "{address}");
        }
    }

    #[test]
    fn families_are_tried_in_turn() {
        let addresses = ["1.1.1.1:1", "1.1.1.2:1", "[2606::1]:1"].map(|text| text.parse().unwrap());
        let order: Vec<String> = interleaved(addresses.to_vec()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[2606::1]:1", "1.1.1.1:1", "1.1.1.2:1"]);
    }
}

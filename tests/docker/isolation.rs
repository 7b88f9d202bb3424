//! The agent's network leads to the proxy and nowhere else. Every way around it is tried from inside, against listeners on
//! this machine that would tell of any byte that came.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use harness::origin::Origin;
use harness::pki::Pki;

use crate::bottle::{Bottle, Setup};
use crate::engine::{self, inspect};

/// A bottle that may reach one origin on this machine, and a second one that it may not.
struct Place {
    bottle: Bottle,
    granted: Origin,
    trap: Origin,
    host: String,
}

impl Place {
    async fn new() -> Self {
        let host = engine::host_address().await;
        let pki = Pki::new();
        let tls = pki.server(&[&host], &["h2", "http/1.1"]);
        let granted = Origin::opening(&host).tls(tls).on(host.parse().unwrap()).start().await;
        let trap = Origin::opening(&host).on(Ipv4Addr::UNSPECIFIED.into()).start().await;
        let setup = Setup::closed();
        let ca = setup.file("origin-ca.pem", &pki.pem());
        let setup = setup.frontmatter(&format!(
            "egress_proxy:\n  defaults: off\n  allow_cidr: [{host}/32]\n  upstream_ca: {}\n  routes:\n    - host: {host}\n      \
             ports: [{}]\n",
            ca.display(),
            granted.port()
        ));
        Self { bottle: setup.start().await, granted, trap, host }
    }

    /// Fetches a URL without the proxy; what curl says about it.
    async fn around(&mut self, url: &str) -> String {
        self.bottle.sh(&format!("curl -gsS -o /dev/null --noproxy '*' --max-time 3 '{url}' && echo reached")).await
    }
}

#[tokio::test]
async fn a_granted_origin_is_reached_through_the_proxy_with_the_bottles_ca_in_every_store() {
    let mut place = Place::new().await;
    let url = place.granted.url("/");
    // Without the variables: the system's own store.
    for unset in ["", "env -u CURL_CA_BUNDLE -u SSL_CERT_FILE "] {
        assert_eq!(place.bottle.sh(&format!("{unset}curl -sS -o /dev/null -w '%{{http_code}}' {url}")).await, "200");
    }
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn no_address_is_reached_but_the_proxys() {
    let mut place = Place::new().await;
    let network = format!("claude-bottle-net-{}", place.bottle.identity);
    let gateway =
        engine::docker(&["network", "inspect", &network, "--format", "{{(index .IPAM.Config 0).Gateway}}"]).await;
    let port = place.trap.port();
    let mut addresses = vec![place.host.clone(), outward_address().to_string(), "1.1.1.1".to_owned()];
    if !gateway.is_empty() {
        addresses.push(gateway);
    }
    for address in addresses {
        let said = place.around(&format!("http://{address}:{port}/")).await;
        assert!(!said.contains("reached"), "{address}: {said}");
    }
    let granted = place.granted.url("/");
    let said = place.around(&granted).await;
    assert!(!said.contains("reached"), "{said}");
    place.granted.saw_nothing();
    place.trap.saw_nothing();
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn there_is_no_ipv6() {
    let mut place = Place::new().await;
    // The loopback's own at most.
    let addresses = place.bottle.sh("grep -v ' lo$' /proc/net/if_inet6").await;
    assert_eq!(addresses, "");
    for address in ["[2606:4700:4700::1111]", "[fe80::1%25eth0]", "[ff02::1%25eth0]"] {
        let said = place.around(&format!("http://{address}:{}/", place.trap.port())).await;
        assert!(!said.contains("reached"), "{address}: {said}");
    }
    place.trap.saw_nothing();
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn no_datagram_leaves() {
    let mut place = Place::new().await;
    let resolver = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = resolver.local_addr().unwrap().port();
    for address in [place.host.clone(), outward_address().to_string(), "8.8.8.8".to_owned()] {
        place.bottle.sh(&format!("timeout 3 bash -c 'echo question >/dev/udp/{address}/{port}'")).await;
    }
    // A control that the same listener hears: what was sent before it has long come or never will.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"control", ("127.0.0.1", port)).unwrap();
    let mut heard = [0; 64];
    let count = resolver.recv(&mut heard).unwrap();
    assert_eq!(&heard[..count], b"control");
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn no_name_is_resolved_but_the_proxys() {
    let mut bottle = Setup::closed().start().await;
    for name in ["example.com", "mirror.example.org", "secret.attacker.example", "host.docker.internal"] {
        assert_eq!(bottle.sh(&format!("timeout 5 getent ahosts {name}; echo $?")).await, "2", "{name}");
        // The engine's resolver is there all the same; it has nobody to ask.
        let answers = bottle.sh(&format!("{ASK_THE_ENGINE} {name}")).await;
        assert!(matches!(answers.as_str(), "0" | "silence"), "{name}: {answers}");
    }
    assert_ne!(bottle.sh("getent ahosts egress-proxy").await, "");
    // Podman has no resolver on such a network.
    let own = bottle.sh(&format!("{ASK_THE_ENGINE} egress-proxy")).await;
    assert!(matches!(own.as_str(), "1" | "silence"), "{own}");
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn of_the_proxy_only_the_outer_face_is_open() {
    let mut place = Place::new().await;
    let proxy = inspect(&place.bottle.container("egress-proxy")).await;
    let networks = proxy["NetworkSettings"]["Networks"].as_object().unwrap().clone();
    let own = format!("claude-bottle-net-{}", place.bottle.identity);
    for (network, endpoint) in networks {
        let address = endpoint["IPAddress"].as_str().unwrap();
        for port in [9097, 9098, 9099] {
            if network == own && port == 9099 {
                continue;
            }
            let said = place.around(&format!("http://{address}:{port}/healthz")).await;
            assert!(!said.contains("reached"), "{network} {address}:{port}: {said}");
        }
    }
    assert!(place.bottle.exit(0).await.status.success());
}

/// The address from which this machine would talk to the world; nothing is sent to find it.
fn outward_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    match socket.connect("192.0.2.1:9") {
        Ok(()) => socket.local_addr().unwrap().ip(),
        // A machine without a way out has only itself.
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

/// Asks the engine's resolver for a name's IPv4 addresses and prints how many it tells.
const ASK_THE_ENGINE: &str = r#"perl -MIO::Socket::INET -e '
    my $engine = IO::Socket::INET->new(PeerAddr => "127.0.0.11:53", Proto => "udp") or die;
    my $name = join "", map { pack "C/a", $_ } split /\./, $ARGV[0];
    $engine->send(pack("n6", 7, 0x100, 1, 0, 0, 0) . $name . "\0" . pack("n2", 1, 1));
    my $answer = "";
    eval { local $SIG{ALRM} = sub { die }; alarm 2; $engine->recv($answer, 512); alarm 0 };
    print length $answer ? unpack("x6n", $answer) : "silence"'"#;

//! How hosts are written and found: the same name in every spelling, addresses, ports, both families of addresses.

use harness::client::{RawConnection, get};
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};

use crate::{Stage, route};

#[tokio::test]
async fn one_host_in_every_spelling_is_one_host() {
    for (host, listed, spellings) in [
        ("api.localhost", "api.localhost", &["api.localhost", "API.LocalHost", "api.localhost.", "Api.Localhost."][..]),
        ("xn--bcher-kva.localhost", "b\u{fc}cher.localhost", &["xn--bcher-kva.localhost", "XN--BCHER-KVA.localhost"]),
        ("127.0.0.1", "127.0.0.1", &["127.0.0.1"]),
        ("[::1]", "'[::1]'", &["[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[::0.0.0.1]"]),
    ] {
        let pki = Pki::new();
        let origin = Origin::https(&pki, host).await;
        let proxy = Proxy::start(Setup::new(&routes([&format!("host: {listed}, ports: any")])).trusting(&pki)).await;
        for spelling in spellings {
            let authority = format!("{spelling}:{}", origin.port());
            let stream = proxy.client().tls(&authority, Some(host.trim_matches(['[', ']']))).await;
            let mut inside = RawConnection::new(stream.unwrap_or_else(|e| panic!("{spelling}: {e}")));
            inside.send(format!("GET /echo HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
            let answer = inside.answer().await;
            assert_eq!(answer.head.status(), 200, "{spelling}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_a_granted_host_is_another() {
    let stage = Stage::granting("").await;
    let port = stage.origin.port();
    for host in
        ["api.localhost.example", "api-localhost", "xapi.localhost", "localhost", "127.0.0.1", "[::1]", "2130706433"]
    {
        let (answer, _) = stage.client().connect(&format!("{host}:{port}")).await.expect("an answer");
        if answer.head.status() == 200 {
            let asked = stage.client().h2().try_send(get(&format!("https://{host}:{port}/"))).await;
            asked.unwrap_or_else(|e| panic!("{host}: {e}")).says(403, &[]);
        }
    }
    stage.origin.saw_nothing();
}

#[tokio::test]
async fn names_are_as_long_as_names_may_be_and_no_longer() {
    let label = "a".repeat(63);
    let long = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(long.len(), 253);
    let proxy = Proxy::start(Setup::new(&routes([&format!("host: {long}")]))).await;
    proxy.client().get(&format!("http://{long}/")).await.says(502, &[]);
    for name in [format!("a{long}"), format!("{}.localhost", "a".repeat(64)), "a".repeat(5000)] {
        let (answer, _) = proxy.client().connect(&format!("{name}:443")).await.expect("an answer");
        assert_eq!(answer.head.status(), 400, "{} bytes", name.len());
    }
}

#[tokio::test]
async fn an_origin_that_has_only_one_family_of_addresses_is_found() {
    // `api.localhost` has an address of each.
    for address in ["127.0.0.1", "::1"] {
        let pki = Pki::new();
        let opening = Origin::opening("api.localhost").on(address.parse().expect("an address"));
        let origin = opening.tls(pki.server(&["api.localhost"], &["h2", "http/1.1"])).start().await;
        let proxy = Proxy::start(Setup::new(&routes([&route("")])).trusting(&pki)).await;
        for client in [proxy.client(), proxy.client().h2()] {
            client.get(&origin.url("/echo")).await.says(200, &[]);
        }
    }
}

#[tokio::test]
async fn the_hosts_file_is_honoured() {
    let file = std::fs::read_to_string("/etc/hosts").expect("a hosts file");
    let lines = file.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut entries = lines.filter_map(|line| line.split_whitespace().next().zip(line.split_whitespace().last()));
    let (address, name) = entries
        .rfind(|(address, name)| address.parse::<std::net::Ipv4Addr>().is_ok() && !name.contains("localhost"))
        .unwrap_or(("127.0.0.1", "localhost"));
    let range = format!("{address}/32");
    let setup = Setup::new(&routes([&format!("host: {name}, ports: any")])).arg("--allow-upstream-cidr").arg(range);
    let mut proxy = Proxy::start(setup).await;
    // Nobody listens there; that its address was found is what counts.
    proxy.client().get(&format!("http://{name}:9/")).await.says(502, &[]);
    let record = proxy.exchange().await;
    assert_eq!(record["error"], "connection_refused", "{record}");
}

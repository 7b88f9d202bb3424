//! What the proxy costs: `cargo bench -p benches --bench proxy [-- REQUESTS]`, with the program that `make build` made
//! (or `EGRESS_PROXY_BIN`).
//!
//! Kept-alive connections ask a local HTTPS origin for a small answer, first without a proxy, then through one; client,
//! origin and proxy share the machine. Prints requests a second, latencies, the proxy's resident memory and its time
//! from start to the first answer.
#![allow(clippy::print_stdout, clippy::panic, clippy::expect_used, reason = "a benchmark reports on stdout, and ends")]

use std::{
    env,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use harness::{
    client::{Client, get},
    h1::{self, Reader},
    origin::{Origin, full},
    pki::Pki,
    proxy::{Proxy, Setup, routes},
};
use http::Response;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Clients at work at the same time, each with its own tunnel.
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 100_000;
const ANSWER: Bytes = Bytes::from_static(b"{\"ok\":true}");

#[tokio::main]
async fn main() {
    let requests = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(REQUESTS);
    let requests = requests / CONNECTIONS * CONNECTIONS;
    let program = env::var_os("EGRESS_PROXY_BIN").map_or_else(built, PathBuf::from);
    assert!(program.is_file(), "no {}: run `make build`, or set EGRESS_PROXY_BIN", program.display());
    let pki = Pki::new();
    let tls = pki.server(&["api.localhost"], &["h2", "http/1.1"]);
    let origin = Origin::opening("api.localhost").tls(tls);
    let origin = origin.answering(|_, _| async { Response::new(full(ANSWER)) }).start().await;

    let relay = relay_to(origin.address()).await;
    report("without a proxy, HTTP/1.1", &load(&Client::new(relay, pki.pem()), &origin, requests).await);
    report("without a proxy, h2", &load(&Client::new(relay, pki.pem()).h2(), &origin, requests).await);

    let started = Instant::now();
    let setup = Setup::new(&routes(["host: api.localhost, ports: any"])).trusting(&pki).program(program);
    let mut proxy = Proxy::start(setup).await;
    proxy.client().get(&origin.url("/")).await.says(200, &[]);
    println!("start to first answer: {:.1} ms", milliseconds(started.elapsed()));
    println!("resident, idle: {:.1} MiB", resident(&proxy));
    report("through the proxy, HTTP/1.1", &load(&proxy.client(), &origin, requests).await);
    report("through the proxy, h2", &load(&proxy.client().h2(), &origin, requests).await);
    println!("resident, after {} requests: {:.1} MiB", 2 * requests, resident(&proxy));
    // The last record has come: nothing was left out to be fast.
    for _ in 0..=2 * requests {
        proxy.exchange().await;
    }
}

/// How long a load took, and each request of it.
struct Load {
    total: Duration,
    latencies: Vec<Duration>,
}

async fn load(client: &Client, origin: &Origin, requests: usize) -> Load {
    let mut workers = JoinSet::new();
    let (authority, url) = (origin.authority(), origin.url("/"));
    let started = Instant::now();
    for _ in 0..CONNECTIONS {
        let (client, authority, url) = (client.clone(), authority.clone(), url.clone());
        workers.spawn(async move {
            let mut session = client.session(&authority).await.expect("a tunnel");
            let mut latencies = Vec::with_capacity(requests / CONNECTIONS);
            for _ in 0..requests / CONNECTIONS {
                let asked = Instant::now();
                let answer = session.send(get(&url)).await.expect("an answer");
                assert_eq!(answer.content, ANSWER);
                latencies.push(asked.elapsed());
            }
            latencies
        });
    }
    let latencies = workers.join_all().await.concat();
    Load { total: started.elapsed(), latencies }
}

fn report(name: &str, load: &Load) {
    let mut sorted = load.latencies.clone();
    sorted.sort_unstable();
    let at = |share: f64| milliseconds(sorted[((sorted.len() - 1) as f64 * share) as usize]);
    let rate = sorted.len() as f64 / load.total.as_secs_f64();
    println!("{name}: {rate:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
}

/// Answers CONNECT and carries bytes: the same clients, and nothing of a proxy's work.
async fn relay_to(origin: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let address = listener.local_addr().expect("a bound port");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                Reader::new().head(&mut client).await?;
                h1::write(&mut client, b"HTTP/1.1 200 OK\r\n\r\n").await?;
                let mut server = TcpStream::connect(origin).await?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

fn built() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/dist/egress-proxy"))
}

fn resident(proxy: &Proxy) -> f64 {
    proxy.resident() as f64 / f64::from(1 << 20)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

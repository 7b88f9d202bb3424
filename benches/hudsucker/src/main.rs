//! hudsucker as a contender: `bench-hudsucker FOLDER` reads whom to trust and the authority from the benchmark's folder,
//! grants one host with four path prefixes and its subdomains, strips the client's credential and injects its own.
//! Never more than that: no record, no scan, no guard.

use std::{
    convert::Infallible,
    error::Error,
    fs,
    future::{Ready, ready},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
};

use hudsucker::{
    Body, HttpContext, HttpHandler, Proxy, RequestOrResponse,
    certificate_authority::RcgenAuthority,
    hyper::{
        Request, Response, StatusCode,
        header::{AUTHORIZATION, HOST, HeaderValue},
    },
    hyper_util::client::legacy::connect::{HttpConnector, dns::Name},
    rcgen::{Issuer, KeyPair},
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, pem::PemObject},
    },
};
use hyper_rustls::HttpsConnectorBuilder;
use tokio::net::TcpListener;
use tower_service::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("bench-hudsucker FOLDER")?);
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(folder.join("origins.pem"))? {
        roots.add(root?)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new_with_resolver(Loopback);
    tcp.enforce_http(false);
    // What it can be told: toward origins. The sockets that it accepts it leaves as they come.
    tcp.set_nodelay(true);
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().enable_http2().wrap_connector(tcp);

    let key = KeyPair::from_pem(&fs::read_to_string(folder.join("ca/ca-key.pem"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(folder.join("ca/ca.pem"))?, key)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    eprintln!(r#"{{"event":"proxy.started","listen":"{}"}}"#, listener.local_addr()?);
    let proxy = Proxy::builder()
        .with_listener(listener)
        .with_ca(RcgenAuthority::new(issuer, 1_000, aws_lc_rs::default_provider()))
        .with_http_connector(connector)
        .with_http_handler(Job { credential: HeaderValue::try_from(format!("Bearer {}", std::env::var("BENCH_TOKEN")?))? })
        .build()?;
    Ok(proxy.start().await?)
}

/// The job that every contender has.
#[derive(Clone)]
struct Job {
    credential: HeaderValue,
}

const NAME: &str = "bench.localhost";
const PREFIXES: [&str; 5] = ["/small", "/bytes", "/sink", "/events", "/injected"];

impl HttpHandler for Job {
    async fn handle_request(&mut self, _: &HttpContext, mut request: Request<Body>) -> RequestOrResponse {
        if request.method() == "CONNECT" {
            return request.into();
        }
        let host = match (request.uri().host(), request.headers().get(HOST).and_then(|host| host.to_str().ok())) {
            (Some(host), _) => host,
            (None, Some(host)) => host.split(':').next().unwrap_or_default(),
            (None, None) => "",
        };
        let named = host == NAME;
        if named && !PREFIXES.iter().any(|prefix| covers(prefix, request.uri().path()))
            || !named && !host.strip_suffix(NAME).is_some_and(|label| label.ends_with('.'))
        {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            return refusal.into();
        }
        request.headers_mut().remove(AUTHORIZATION);
        if named {
            request.headers_mut().insert(AUTHORIZATION, self.credential.clone());
        }
        request.into()
    }
}

/// By segment.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Every name of the benchmark is on this machine.
#[derive(Clone)]
struct Loopback;

impl Service<Name> for Loopback {
    type Response = std::array::IntoIter<SocketAddr, 1>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))].into_iter()))
    }
}

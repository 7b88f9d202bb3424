//! The library floor: the least interceptor that hyper and rustls allow. It mints, pools and streams as the proxy does,
//! and does nothing else: no policy, no credential, no scan, no record, no limits. What the proxy costs beyond it is ours.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{http1 as client1, http2 as client2},
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::ServerName,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    contender::{self, process},
    tls::{self, Authority},
};

/// Everything that lives as long as the process.
struct Floor {
    server: Arc<ServerConfig>,
    h1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
    idle: Mutex<HashMap<String, Vec<client1::SendRequest<Incoming>>>>,
    shared: tokio::sync::Mutex<HashMap<String, client2::SendRequest<Incoming>>>,
}

/// Serves until killed; leaves its root in `folder`.
pub async fn run(folder: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let floor = Arc::new(Floor::new(folder)?);
    let listener = TcpListener::bind(listen).await?;
    process::announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = floor.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let floor = floor.clone();
                async move {
                    let authority = request.uri().to_string();
                    tokio::spawn(async move { intercept(floor, authority, hyper::upgrade::on(request).await?).await });
                    Ok::<_, Infallible>(Response::new(http_body_util::Empty::<Bytes>::new()))
                }
            });
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await
        });
    }
}

async fn intercept(floor: Arc<Floor>, authority: String, upgraded: Upgraded) -> anyhow::Result<()> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| anyhow::anyhow!("not our socket"))?;
    let stream = TlsAcceptor::from(floor.server.clone()).accept(parts.io.into_inner()).await?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let (floor, authority) = (floor.clone(), authority.clone());
        async move {
            if is_h2 {
                floor.forward_h2(&authority, request).await
            } else {
                floor.forward_h1(&authority, request).await
            }
        }
    });
    let stream = TokioIo::new(stream);
    if is_h2 {
        let builder = &mut http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(256 << 10).initial_connection_window_size(1 << 20);
        builder.serve_connection(stream, service).await?;
    } else {
        http1::Builder::new().serve_connection(stream, service).await?;
    }
    Ok(())
}

impl Floor {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let minter = Minter { authority: Authority::new()?, leaves: Mutex::default() };
        std::fs::write(folder.join(contender::FLOOR), minter.authority.pem())?;
        let mut server = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(minter));
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.ignore_client_order = true;
        let origins = std::fs::read_to_string(folder.join(contender::ORIGINS))?;
        let (h1, h2) = (Arc::new(tls::client(&origins, "http/1.1")?), Arc::new(tls::client(&origins, "h2")?));
        Ok(Self { server: Arc::new(server), h1, h2, idle: Mutex::default(), shared: Default::default() })
    }

    async fn forward_h1(
        self: Arc<Self>,
        authority: &str,
        request: Request<Incoming>,
    ) -> anyhow::Result<Response<Relay>> {
        let idle = self.lock().get_mut(authority).and_then(Vec::pop).filter(client1::SendRequest::is_ready);
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let (sender, connection) = client1::handshake(self.dial(authority, &self.h1).await?).await?;
                tokio::spawn(connection);
                sender
            }
        };
        let response = sender.send_request(request).await?;
        let lease = Some((self, authority.to_owned(), sender));
        Ok(response.map(|body| Relay { body, lease }))
    }

    async fn forward_h2(
        self: Arc<Self>,
        authority: &str,
        mut request: Request<Incoming>,
    ) -> anyhow::Result<Response<Relay>> {
        let mut shared = self.shared.lock().await;
        let mut sender = match shared.get(authority).filter(|sender| sender.is_ready()) {
            Some(sender) => sender.clone(),
            None => {
                let stream = self.dial(authority, &self.h2).await?;
                let (sender, connection) = client2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(4 << 20)
                    .handshake(stream)
                    .await?;
                tokio::spawn(connection);
                shared.insert(authority.to_owned(), sender.clone());
                sender
            }
        };
        drop(shared);
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(header::HOST);
        let response = sender.send_request(request).await?;
        Ok(response.map(|body| Relay { body, lease: None }))
    }

    async fn dial(
        &self,
        authority: &str,
        config: &Arc<ClientConfig>,
    ) -> anyhow::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
        let uri: Uri = authority.parse()?;
        let port = uri.port_u16().context("an authority has a port")?;
        let host = uri.host().context("an authority has a host")?.to_owned();
        // In the order in which whoever resolves the name is given them.
        let addresses = [(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()];
        let stream = TcpStream::connect::<&[SocketAddr]>(&addresses).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(TlsConnector::from(config.clone()).connect(ServerName::try_from(host)?, stream).await?))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<client1::SendRequest<Incoming>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer's content; its end gives the connection back.
struct Relay {
    body: Incoming,
    lease: Option<(Arc<Floor>, String, client1::SendRequest<Incoming>)>,
}

impl Relay {
    fn give_back(&mut self) {
        if let Some((floor, authority, sender)) = self.lease.take() {
            floor.lock().entry(authority).or_default().push(sender);
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One leaf for each name.
struct Minter {
    authority: Authority,
    leaves: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Minter {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(name) {
            return Some(leaf.clone());
        }
        let leaf = self.authority.leaf(&[name]).ok()?;
        leaves.insert(name.to_owned(), leaf.clone());
        Some(leaf)
    }
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Minter")
    }
}

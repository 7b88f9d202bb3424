//! A front for suites that cannot CONNECT: what connects to it is put through the proxy, by a tunnel that is opened for
//! the front's own address. The proxy then dials that address too, and is told from the suite by its ClientHello: only it
//! offers `http/1.1`. So the suite and the proxy speak of one authority, and no byte is changed before it has been
//! through the proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use harness::client::Client;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the proxy reaches.
#[derive(Clone)]
pub(crate) enum Behind {
    /// A server that ends TLS itself.
    Itself(SocketAddr),
    /// A server in clear, for which the front ends TLS and writes its own address into `Host`.
    InClear(SocketAddr, Arc<ServerConfig>),
}

/// Listens; `client` goes through the proxy.
pub(crate) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let port = listener.local_addr().expect("a bound port").port();
    (listener, port)
}

/// Serves until the test ends.
pub(crate) fn serve(listener: TcpListener, client: Client, behind: Behind) {
    tokio::spawn(async move {
        let authority = listener.local_addr().expect("a bound port").to_string();
        while let Ok((stream, _)) = listener.accept().await {
            let (client, behind, authority) = (client.clone(), behind.clone(), authority.clone());
            tokio::spawn(async move {
                // Suites break off as they please.
                let _ = connection(stream, &client, behind, &authority).await;
            });
        }
    });
}

async fn connection(mut stream: TcpStream, client: &Client, behind: Behind, authority: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut hello = [0; 4096];
    let peeked = stream.peek(&mut hello).await?;
    let is_proxy = hello[..peeked].windows(8).any(|window| window == b"http/1.1");
    if !is_proxy {
        let mut tunnel = client.tunnel(authority).await.map_err(std::io::Error::other)?;
        copy_bidirectional(&mut stream, &mut tunnel).await?;
        return Ok(());
    }
    match behind {
        Behind::Itself(address) => {
            let mut server = TcpStream::connect(address).await?;
            server.set_nodelay(true)?;
            copy_bidirectional(&mut stream, &mut server).await?;
        }
        Behind::InClear(address, tls) => {
            let mut stream = TlsAcceptor::from(tls).accept(stream).await?;
            let mut server = TcpStream::connect(address).await?;
            server.set_nodelay(true)?;
            // Autobahn's server insists on its own port in `Host`.
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&head).replace(authority, &address.to_string());
            server.write_all(head.as_bytes()).await?;
            copy_bidirectional(&mut stream, &mut server).await?;
            stream.shutdown().await?;
        }
    }
    Ok(())
}

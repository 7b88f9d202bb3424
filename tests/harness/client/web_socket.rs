//! WebSockets of a client: by upgrade over HTTP/1.1, by extended CONNECT over h2 (RFC 8441).

use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::ext::Protocol as Extended;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Client, Failure, Protocol, Session, authority_of};
use crate::h1::Stream;
use crate::origin::{Content, full};

/// A WebSocket on whatever carries it.
pub type WebSocket = WebSocketStream<Box<dyn Stream>>;

impl Client {
    /// A WebSocket over what this client speaks, by its `https` URL; the answer where it was refused.
    pub async fn open_web_socket(&self, url: &str) -> Result<WebSocket, Response<Incoming>> {
        let mut session = self.session_for(url).await;
        let response = session.open(self.handshake(url)).await.unwrap_or_else(|e| panic!("no answer: {e}"));
        let agreed = match self.protocol {
            Protocol::H1 => StatusCode::SWITCHING_PROTOCOLS,
            Protocol::H2 => StatusCode::OK,
        };
        if response.status() != agreed {
            return Err(response);
        }
        let upgraded = crate::within("an upgrade", hyper::upgrade::on(response)).await.expect("the stream stays");
        let stream: Box<dyn Stream> = Box::new(Kept { stream: TokioIo::new(upgraded), _session: session });
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    /// The head with which this client asks for a WebSocket.
    pub fn handshake(&self, url: &str) -> Request<Content> {
        let mut request = Request::builder().uri(url).header("sec-websocket-version", "13");
        request = match self.protocol {
            Protocol::H1 => request
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-key", generate_key()),
            Protocol::H2 => request.method(Method::CONNECT).extension(Extended::from_static("websocket")),
        };
        request.body(full("")).expect("a request")
    }

    /// A connection on which requests for this URL can be sent.
    pub async fn session_for(&self, url: &str) -> Session {
        let uri: Uri = url.parse().expect("a URL");
        let session: Result<Session, Failure> = self.session(&authority_of(&uri)).await;
        session.unwrap_or_else(|e| panic!("no tunnel: {e}"))
    }
}

/// A stream whose connection lives as long as it does.
struct Kept<S> {
    stream: S,
    _session: Session,
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Kept<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for Kept<S> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

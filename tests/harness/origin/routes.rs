//! What an origin answers unless the test says otherwise: the path chooses.
//!
//! | path | answer |
//! |---|---|
//! | `/echo…`, and any other | JSON: method, target, fields, content of the request |
//! | `/feed` | bytes as the test releases them (`?type=`, default `text/event-stream`; `&coding=`) |
//! | `/bytes?n=N` | N bytes with their length; `&chunked` without it |
//! | `/upload` | the number of bytes that came, once they all have |
//! | `/redirect?to=URL` | 302 |
//! | `/status?code=N` | that status, no content |
//! | `/trailers` | content and the trailer `x-checksum` |
//! | `/cut?n=N` | N bytes of a promised 2 N, then the connection breaks |
//! | `/gzip?text=T` | T, coded with gzip |
//! | `/field?name=N&value=V` | V in the field N, and as content |
//! | `/ws` | a WebSocket that echoes; `?tell=N` first says the field N of its handshake, `&part=B` its first B bytes only,
//! | | and otherwise in two frames |

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WebSocketFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{Arrival, Content, Fed, Site, full};

/// Small enough that a reader's back-pressure is felt.
const PIECE: usize = 64 * 1024;

pub(super) async fn answer(mut request: Request<Incoming>, site: Arc<Site>) -> Response<Content> {
    if request.uri().path() == "/ws" {
        return web_socket(&mut request, &site);
    }
    let (parts, body) = request.into_parts();
    let arrival = site.seen.arrived(&parts, body);
    let query = Query::of(parts.uri.query());
    let answer = match parts.uri.path() {
        "/feed" => feed(site, &query),
        "/bytes" => bytes(query.number("n"), query.has("chunked")),
        "/upload" => full_answer(arrival.received().await.bytes.to_string()),
        "/redirect" => with_field(StatusCode::FOUND, "location", &query.text("to").unwrap_or_default()),
        "/status" => status(query.number("code")),
        "/trailers" => trailers(),
        "/cut" => cut(query.number("n")),
        "/gzip" => gzip(&query.text("text").unwrap_or_default()),
        "/field" => field(&query),
        _ => echo(&arrival).await,
    };
    // The HTTP library sees to this on HTTP/1.1 alone.
    if parts.method == http::Method::HEAD { answer.map(|_| full("")) } else { answer }
}

async fn echo(arrival: &Arrival) -> Response<Content> {
    let received = arrival.received().await;
    let told = json!({
        "method": arrival.method,
        "target": arrival.target,
        "version": format!("{:?}", arrival.version),
        "fields": arrival.fields,
        "content": String::from_utf8_lossy(&received.kept),
        "trailers": received.trailers,
    });
    let mut response = full_answer(told.to_string());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

fn feed(site: Arc<Site>, query: &Query) -> Response<Content> {
    let (frames, content) = channel();
    tokio::spawn(async move {
        let mut fed = site.feed.lock().await;
        while let Some(Fed::Bytes(bytes)) = fed.recv().await {
            if frames.send(Ok(Frame::data(bytes))).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(content);
    let content_type = query.text("type").unwrap_or("text/event-stream".into());
    response.headers_mut().insert("content-type", value(&content_type));
    if let Some(coding) = query.text("coding") {
        response.headers_mut().insert("content-encoding", value(&coding));
    }
    response
}

fn bytes(n: u64, chunked: bool) -> Response<Content> {
    let (frames, content) = channel();
    tokio::spawn(async move {
        let piece = Bytes::from(vec![b'.'; PIECE]);
        let mut left = n;
        while left > 0 {
            let size = left.min(PIECE as u64);
            if frames.send(Ok(Frame::data(piece.slice(..size as usize)))).await.is_err() {
                return;
            }
            left -= size;
        }
    });
    let mut response = Response::new(content);
    if !chunked {
        response.headers_mut().insert("content-length", n.into());
    }
    response
}

fn trailers() -> Response<Content> {
    let (frames, content) = channel();
    tokio::spawn(async move {
        let mut fields = HeaderMap::new();
        fields.insert("x-checksum", HeaderValue::from_static("abc"));
        let _ = frames.send(Ok(Frame::data(Bytes::from_static(b"content")))).await;
        let _ = frames.send(Ok(Frame::trailers(fields))).await;
    });
    let mut response = Response::new(content);
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
    response
}

fn cut(n: u64) -> Response<Content> {
    let (frames, content) = channel();
    tokio::spawn(async move {
        let _ = frames.send(Ok(Frame::data(Bytes::from(vec![b'.'; n as usize])))).await;
        let _ = frames.send(Err(std::io::Error::other("cut here"))).await;
    });
    let mut response = Response::new(content);
    response.headers_mut().insert("content-length", (2 * n).into());
    response
}

fn gzip(text: &str) -> Response<Content> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut coder, text.as_bytes()).expect("memory takes everything");
    let mut response = full_answer(coder.finish().expect("memory takes everything"));
    response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
    response
}

fn field(query: &Query) -> Response<Content> {
    let text = query.text("value").unwrap_or_default();
    let mut response = with_field(StatusCode::OK, &query.text("name").unwrap_or_default(), &text);
    *response.body_mut() = full(text);
    response
}

fn status(code: u64) -> Response<Content> {
    let mut response = full_answer("");
    *response.status_mut() = StatusCode::from_u16(code as u16).expect("a status");
    response
}

fn with_field(status: StatusCode, name: &str, text: &str) -> Response<Content> {
    let mut response = full_answer("");
    *response.status_mut() = status;
    let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a field name");
    response.headers_mut().insert(name, value(text));
    response
}

/// Accepts the handshake of RFC 6455, or of RFC 8441 on HTTP/2, and echoes messages.
fn web_socket(request: &mut Request<Incoming>, site: &Site) -> Response<Content> {
    let upgrade = hyper::upgrade::on(&mut *request);
    let greeting = greeting(request);
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
        for frame in greeting {
            if socket.send(Message::Frame(frame)).await.is_err() {
                return;
            }
        }
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let (parts, ()) = head_of(request).into_parts();
    site.seen.arrived_head(&parts);
    let mut response = full_answer("");
    if request.version() == http::Version::HTTP_2 {
        return response;
    }
    let key = request.headers().get("sec-websocket-key").map(HeaderValue::as_bytes).unwrap_or_default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert("connection", HeaderValue::from_static("upgrade"));
    fields.insert("upgrade", HeaderValue::from_static("websocket"));
    fields.insert("sec-websocket-accept", value(&derive_accept_key(key)));
    response
}

/// The frames with which a WebSocket begins.
fn greeting(request: &Request<Incoming>) -> Vec<WebSocketFrame> {
    let query = Query::of(request.uri().query());
    let told = query.text("tell").and_then(|name| request.headers().get(name).cloned());
    let Some(told) = told.map(|value| Bytes::copy_from_slice(value.as_bytes())) else { return Vec::new() };
    let text = OpCode::Data(Data::Text);
    match query.number("part") as usize {
        0 => {
            let cut = told.len() / 2;
            let rest = OpCode::Data(Data::Continue);
            vec![
                WebSocketFrame::message(told.slice(..cut), text, false),
                WebSocketFrame::message(told.slice(cut..), rest, true),
            ]
        }
        part => vec![WebSocketFrame::message(told.slice(..part), text, true)],
    }
}

fn head_of(request: &Request<Incoming>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    head
}

fn full_answer(bytes: impl Into<Bytes>) -> Response<Content> {
    Response::new(full(bytes))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a field value")
}

type Frames = mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

fn channel() -> (Frames, Content) {
    let (frames, mut pending) = mpsc::channel(1);
    let stream = futures_util::stream::poll_fn(move |cx| pending.poll_recv(cx));
    (frames, StreamBody::new(stream).boxed_unsync())
}

/// The parameters of a query, percent-decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, text)| (decoded(name), decoded(text))).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone())
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (first, _) => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

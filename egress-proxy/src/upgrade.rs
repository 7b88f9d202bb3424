//! WebSocket (RFC 6455, RFC 8441): the one upgrade that is carried, over HTTP/1.1 and h2 on either side. Whatever the
//! origin answers goes to the client; once both have agreed, what the client sends is judged message by message and what
//! comes back is masked and relayed, until either side is done or the table changes its mind.
//!
//! A WebSocket gets a connection of its own to the origin, HTTP/1.1 wherever the origin has it, so that a slow one holds
//! nothing else up; an origin that has h2 alone is asked by extended CONNECT.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use shared::record::Outcome;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use crate::{
    accept::Seat,
    answers::AnswerScan,
    content::Content,
    error::ExchangeError,
    exchange::{answer_fields, relay},
    forward::{self, Answer, ForwardError, Offer},
    live::{Revocation, Revoked},
    mask::Mask,
    policy::RequestPermit,
    proxy::Proxy,
    record::Recording,
    relay::ClientBody,
    websocket::{self, Handshake, Incoming, Offers, Outgoing, Progress, WebSocketError},
};

/// A client's wish to speak WebSocket on its connection, or on a stream of it.
pub struct Upgrade {
    client: OnUpgrade,
    yes: Yes,
    offers: Offers,
    seat: Seat,
}

/// How a client is told that its wish was granted.
enum Yes {
    /// 101, with the answer to its key.
    Switching(HeaderValue),
    /// 200 to its CONNECT.
    Stream,
}

impl Upgrade {
    /// Takes the wish out of a request's head.
    ///
    /// # Errors
    /// The client wishes to speak something else.
    pub fn take(head: &mut Parts, seat: &Seat) -> Result<Option<Self>, ExchangeError> {
        let listed = head
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
        let Some(protocol) = head.headers.get(header::UPGRADE).filter(|_| listed) else { return Ok(None) };
        // HTTP/1.0 has no upgrades, and the field is ignored (RFC 9110 §7.8): nothing of such a head is taken out.
        if head.extensions.get::<OnUpgrade>().is_none() {
            return Ok(None);
        }
        let protocol = String::from_utf8_lossy(protocol.as_bytes()).to_ascii_lowercase();
        match protocol.as_str() {
            "websocket" => {}
            // An upgrade may be ignored (RFC 9110 §7.8), and h2c by upgrade is history (RFC 9113 §3.1).
            "h2c" => return Ok(None),
            _ => return Err(ExchangeError::Upgrade(protocol.chars().take(40).collect())),
        }
        let key = head.headers.remove(header::SEC_WEBSOCKET_KEY);
        let yes = match key.as_ref().and_then(websocket::accept) {
            _ if head.version == Version::HTTP_2 => Yes::Stream,
            Some(accept) => Yes::Switching(accept),
            None => return Err(ExchangeError::Upgrade("websocket, without `Sec-WebSocket-Key`".to_owned())),
        };
        let offers = Offers::keep(&mut head.headers);
        Ok(head.extensions.remove().map(|client| Self { client, yes, offers, seat: seat.clone() }))
    }

    /// Sends the request on, and relays what follows when the origin agrees.
    ///
    /// # Errors
    /// The origin could not be asked, or answers what cannot be passed on.
    pub async fn forward(
        self,
        proxy: &Arc<Proxy>,
        permit: &RequestPermit,
        mut head: Parts,
        mask: Option<Mask>,
        revocation: Revocation,
        recording: &Arc<Recording>,
    ) -> Result<Response<ClientBody>, ExchangeError> {
        let handshake = Handshake::random();
        head.extensions.clear();
        head.extensions.insert(handshake);
        let again = |content| Some(Request::from_parts(head.clone(), content));
        let request = Request::from_parts(head.clone(), Content::empty());
        let asking = pin!(proxy.next_hops.forward(permit, request, again, Offer::Http1, None));
        let answer = revocation.answer(asking, || recording.request_bytes()).await?;
        let answer = answer.unwrap_or(Err(ForwardError::Silent))?;
        let switched = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let opened = answer.response.version() == Version::HTTP_2 && answer.response.status() == StatusCode::OK;
        if !switched && !opened {
            // To a client of h2 every success means that the WebSocket is open.
            if switched || answer.response.status().is_success() && matches!(self.yes, Yes::Stream) {
                return Err(ExchangeError::Forward(ForwardError::WebSocket("it did not agree")));
            }
            return relay(answer, mask, AnswerScan::of(permit, recording), revocation, recording);
        }
        let wrong = |what| ExchangeError::Forward(ForwardError::WebSocket(what));
        if switched && !handshake.is_answered_by(answer.response.headers()) {
            return Err(wrong("`Sec-WebSocket-Accept` does not answer the key"));
        }
        let agreement = self.offers.answered(answer.response.headers()).map_err(wrong)?;
        let Answer { response, peer, protocol, .. } = answer;
        let (mut answered, content) = response.into_parts();
        let origin = match answered.extensions.remove::<OnUpgrade>() {
            Some(connection) => Origin::Connection(connection),
            None => Origin::Stream(content.into_stream().ok_or_else(|| wrong("it did not agree"))?),
        };
        answer_fields(&mut answered.headers, mask.as_ref(), recording);
        answered.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        answered.extensions.clear();
        answered.version = Version::default();
        answered.status = match self.yes {
            Yes::Stream => StatusCode::OK,
            Yes::Switching(accept) => {
                websocket::ask(&mut answered.headers);
                answered.headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
                StatusCode::SWITCHING_PROTOCOLS
            }
        };
        recording.note(|draft| {
            draft.next_hop = Some(peer);
            draft.origin_protocol = Some(protocol);
            draft.first_byte_ms = Some(recording.milliseconds());
            draft.status = Some(answered.status);
        });
        let socket = Socket {
            outgoing: Outgoing::new(permit.scanner().clone(), permit.exemptions().clone(), permit.scan(), agreement),
            incoming: mask.map(|mask| Incoming::new(mask, agreement)),
            revocation,
            recording: recording.clone(),
            _seat: self.seat,
        };
        proxy.tasks.spawn(socket.relay(self.client, origin));
        Ok(Response::from_parts(answered, ClientBody::full(Bytes::new())))
    }
}

/// Where the origin speaks WebSocket.
enum Origin {
    Connection(OnUpgrade),
    Stream(forward::Stream),
}

trait BothWays: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> BothWays for T {}

impl Origin {
    async fn opened(self) -> hyper::Result<Box<dyn BothWays>> {
        Ok(match self {
            Self::Connection(connection) => Box::new(TokioIo::new(connection.await?)),
            Self::Stream(stream) => Box::new(stream),
        })
    }
}

/// One WebSocket under way.
struct Socket {
    outgoing: Outgoing,
    /// `None`: nothing was injected, and what comes back passes as it is.
    incoming: Option<Incoming>,
    revocation: Revocation,
    recording: Arc<Recording>,
    _seat: Seat,
}

impl Socket {
    async fn relay(mut self, client: OnUpgrade, origin: Origin) {
        let (client, origin) = match tokio::try_join!(client, origin.opened()) {
            Ok((client, origin)) => (TokioIo::new(client), origin),
            Err(error) => return self.end(Outcome::Failed, "connection_terminated", error.to_string()),
        };
        let (client_read, mut client_write) = split(client);
        let (origin_read, origin_write) = split(origin);
        let recording = self.recording.clone();
        let judged = tokio::select! {
            judged = send(client_read, origin_write, &mut self.outgoing, &recording) => judged,
            judged = receive(origin_read, &mut client_write, self.incoming.take(), &recording) => judged,
            () = self.revocation.revoked() => {
                return self.end(Outcome::Denied, "revoked", Revoked.to_string());
            }
        };
        match judged {
            Ok(()) => self.recording.note(|draft| draft.outcome = Outcome::Completed),
            Err(error) => {
                let code = match error {
                    WebSocketError::Frame { .. } => websocket::PROTOCOL,
                    WebSocketError::Text => websocket::PAYLOAD,
                    WebSocketError::Found(_) | WebSocketError::Echo(_) => websocket::POLICY,
                };
                // The client may be gone; the record has the reason.
                let _told = client_write.write_all(&websocket::close(code, &format!("egress-proxy: {error}"))).await;
                let _closed = client_write.shutdown().await;
                self.refuse(error);
            }
        }
    }

    fn refuse(self, error: WebSocketError) {
        let reason = error.to_string();
        match error {
            WebSocketError::Found(finding) => {
                self.recording.note(|draft| {
                    draft.by = Some("scan");
                    draft.alarm = finding.is_guarded_value();
                    draft.findings.push(finding);
                });
                self.end(Outcome::Blocked, "secret_found", reason);
            }
            WebSocketError::Echo(_) => self.end(Outcome::Failed, "credential_echoed", reason),
            WebSocketError::Frame { .. } | WebSocketError::Text => {
                self.end(Outcome::Denied, "websocket_protocol", reason);
            }
        }
    }

    fn end(self, outcome: Outcome, token: &'static str, reason: String) {
        self.recording.note(|draft| {
            draft.outcome = outcome;
            draft.error = Some(token);
            draft.reason = Some(reason);
        });
    }
}

/// Judges and sends what the client says, until it is done. A broken connection is an end like any other: WebSockets
/// say goodbye inside (RFC 6455 §7.1.1).
async fn send(
    mut client: impl AsyncRead + Unpin,
    mut origin: impl AsyncWrite + Unpin,
    outgoing: &mut Outgoing,
    recording: &Recording,
) -> Result<(), WebSocketError> {
    let (mut bytes, mut judged) = (BytesMut::new(), BytesMut::new());
    loop {
        bytes.reserve(BUFFER);
        match client.read_buf(&mut bytes).await {
            Ok(read) if read > 0 => recording.count_request(read),
            _ => {
                let _closed = origin.shutdown().await;
                // The origin may still have something to say; its own end ends the relay, or our patience does.
                tokio::time::sleep(FAREWELL).await;
                return Ok(());
            }
        }
        loop {
            let progress = outgoing.push(&mut bytes, &mut judged);
            for finding in outgoing.recorded() {
                recording.note(|draft| draft.findings.push(finding));
            }
            // What was judged before a finding goes on, however the client's bytes came.
            if origin.write_all_buf(&mut judged).await.is_err() || origin.flush().await.is_err() {
                return Ok(());
            }
            if progress? == Progress::Hungry {
                break;
            }
        }
    }
}

/// Relays what the origin says, with the injected value masked, until it is done.
async fn receive(
    mut origin: impl AsyncRead + Unpin,
    client: &mut (impl AsyncWrite + Unpin),
    mut incoming: Option<Incoming>,
    recording: &Recording,
) -> Result<(), WebSocketError> {
    let (mut bytes, mut masked) = (BytesMut::new(), BytesMut::new());
    loop {
        bytes.reserve(BUFFER);
        let Ok(read @ 1..) = origin.read_buf(&mut bytes).await else { break };
        recording.count_response(read);
        loop {
            let progress = match &mut incoming {
                None => {
                    std::mem::swap(&mut bytes, &mut masked);
                    Ok(Progress::Hungry)
                }
                Some(incoming) => {
                    let progress = incoming.push(&mut bytes, &mut masked);
                    recording.count_masked(incoming.masked());
                    progress
                }
            };
            if client.write_all_buf(&mut masked).await.is_err() || client.flush().await.is_err() {
                return Ok(());
            }
            if progress? == Progress::Hungry {
                break;
            }
        }
    }
    let _closed = client.shutdown().await;
    Ok(())
}

/// How long an origin may go on when its client has left.
const FAREWELL: Duration = Duration::from_secs(30);
/// What is read at a time, in bytes.
const BUFFER: usize = 16 * 1024;

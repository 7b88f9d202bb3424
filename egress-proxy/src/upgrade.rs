//! WebSocket over HTTP/1.1 (RFC 6455): the one upgrade that is carried. Whatever the origin answers goes to the client;
//! after a 101 what the client sends is judged message by message and what comes back is masked and relayed, until
//! either side is done or the table changes its mind.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
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
    forward::{Answer, ForwardError, Offer},
    live::{Revocation, Revoked},
    mask::Mask,
    policy::RequestPermit,
    proxy::Proxy,
    record::Recording,
    relay::ClientBody,
    websocket::{Outgoing, WebSocketError, close_frame},
};

/// A client's wish to speak WebSocket on its connection.
pub struct Upgrade {
    client: OnUpgrade,
    seat: Seat,
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
        let protocol = String::from_utf8_lossy(protocol.as_bytes()).to_ascii_lowercase();
        match protocol.as_str() {
            "websocket" => Ok(head.extensions.remove().map(|client| Self { client, seat: seat.clone() })),
            // An upgrade may be ignored (RFC 9110 §7.8), and h2c by upgrade is history (RFC 9113 §3.1).
            "h2c" => Ok(None),
            _ => Err(ExchangeError::Upgrade(protocol.chars().take(40).collect())),
        }
    }

    /// Sends the request on, and relays what follows a 101.
    ///
    /// # Errors
    /// The origin could not be asked.
    pub async fn forward(
        self,
        proxy: &Arc<Proxy>,
        permit: &RequestPermit,
        mut head: Parts,
        mask: Option<Mask>,
        revocation: Revocation,
        recording: &Arc<Recording>,
    ) -> Result<Response<ClientBody>, ExchangeError> {
        ask_for_websocket(&mut head.headers);
        // Nothing is compressed, so that what is judged is what is meant.
        head.headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
        head.extensions.clear();
        let request = Request::from_parts(head, Content::empty());
        let asking = proxy.next_hops.forward(permit, request, Offer::Http1);
        let mut answer = revocation.unless_revoked(asking).await??;
        if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return relay(answer, mask, AnswerScan::of(permit, recording), revocation, recording);
        }
        let Some(origin) = answer.response.extensions_mut().remove::<OnUpgrade>() else {
            return Err(ExchangeError::Forward(ForwardError::Upgrade));
        };
        let Answer { response, peer, protocol, .. } = answer;
        let (mut answered, _) = response.into_parts();
        recording.note(|draft| {
            draft.next_hop = Some(peer);
            draft.origin_protocol = Some(protocol);
            draft.first_byte_ms = Some(recording.milliseconds());
            draft.status = Some(answered.status);
        });
        answer_fields(&mut answered.headers, mask.as_ref(), recording);
        ask_for_websocket(&mut answered.headers);
        answered.extensions.clear();
        let outgoing = Outgoing::new(permit.scanner().clone(), permit.exemptions().clone(), permit.scan());
        let socket = Socket { outgoing, mask, revocation, recording: recording.clone(), _seat: self.seat };
        proxy.tasks.spawn(socket.relay(self.client, origin));
        Ok(Response::from_parts(answered, ClientBody::full(Bytes::new())))
    }
}

/// One WebSocket under way.
struct Socket {
    outgoing: Outgoing,
    mask: Option<Mask>,
    revocation: Revocation,
    recording: Arc<Recording>,
    _seat: Seat,
}

impl Socket {
    async fn relay(mut self, client: OnUpgrade, origin: OnUpgrade) {
        let (client, origin) = match tokio::try_join!(client, origin) {
            Ok((client, origin)) => (TokioIo::new(client), TokioIo::new(origin)),
            Err(error) => return self.end(Outcome::Failed, "connection_terminated", error.to_string()),
        };
        let (client_read, mut client_write) = split(client);
        let (origin_read, origin_write) = split(origin);
        let recording = self.recording.clone();
        let judged = tokio::select! {
            judged = send(client_read, origin_write, &mut self.outgoing, &recording) => judged,
            () = receive(origin_read, &mut client_write, self.mask.take(), &recording) => Ok(()),
            () = self.revocation.revoked() => {
                return self.end(Outcome::Denied, "revoked", Revoked.to_string());
            }
        };
        match judged {
            Ok(()) => self.recording.note(|draft| draft.outcome = Outcome::Completed),
            Err(error) => {
                // The client may be gone; the record has the reason.
                let _told = client_write.write_all(&close_frame(&format!("egress-proxy: {error}"))).await;
                let _closed = client_write.shutdown().await;
                self.refuse(error);
            }
        }
    }

    fn refuse(self, error: WebSocketError) {
        match error {
            WebSocketError::Found(finding) => {
                self.recording.note(|draft| {
                    draft.by = Some("scan");
                    draft.alarm = finding.is_guarded_value();
                    draft.findings.push(finding.clone());
                });
                self.end(Outcome::Blocked, "secret_found", finding.to_string());
            }
            WebSocketError::Frame(_) => self.end(Outcome::Denied, "websocket_protocol", error.to_string()),
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
        let verdict = outgoing.push(&mut bytes, &mut judged);
        for finding in outgoing.recorded() {
            recording.note(|draft| draft.findings.push(finding));
        }
        verdict?;
        if origin.write_all_buf(&mut judged).await.is_err() || origin.flush().await.is_err() {
            return Ok(());
        }
    }
}

/// Relays what the origin says, with the injected value masked, until it is done.
async fn receive(
    mut origin: impl AsyncRead + Unpin,
    client: &mut (impl AsyncWrite + Unpin),
    mut mask: Option<Mask>,
    recording: &Recording,
) {
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(BUFFER);
        let Ok(read @ 1..) = origin.read_buf(&mut bytes).await else { break };
        recording.count_response(read);
        let chunk = bytes.split().freeze();
        let chunk = match &mut mask {
            None => chunk,
            Some(mask) => match mask.push(chunk) {
                Ok((chunk, masked)) => {
                    recording.count_masked(masked);
                    chunk
                }
                Err(_) => break,
            },
        };
        if client.write_all(&chunk).await.is_err() || client.flush().await.is_err() {
            return;
        }
    }
    let (held, masked) = mask.as_mut().map(Mask::finish).unwrap_or_default();
    recording.count_masked(masked);
    let _sent = client.write_all(&held).await;
    let _closed = client.shutdown().await;
}

/// How long an origin may go on when its client has left.
const FAREWELL: Duration = Duration::from_secs(30);
/// What is read at a time, in bytes.
const BUFFER: usize = 16 * 1024;

/// Writes the two fields that were stripped as hop-by-hop and that this hop wants to say itself.
fn ask_for_websocket(fields: &mut HeaderMap) {
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

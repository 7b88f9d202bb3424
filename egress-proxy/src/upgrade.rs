//! WebSocket over HTTP/1.1 (RFC 6455): the one upgrade that is carried. Whatever the origin answers goes to the client;
//! after a 101 bytes are relayed both ways until either side is done, the table changes its mind or the proxy drains.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use shared::record::Outcome;

use crate::{
    content::Content,
    error::ExchangeError,
    exchange::{answer_fields, relay},
    forward::{Answer, ForwardError, Offer},
    live::Revocation,
    mask::Mask,
    policy::RequestPermit,
    proxy::Proxy,
    record::Recording,
    relay::{ClientBody, copy_both},
};

/// A client's wish to speak WebSocket on its connection.
pub struct Upgrade {
    client: OnUpgrade,
}

impl Upgrade {
    /// Takes the wish out of a request's head.
    ///
    /// # Errors
    /// The client wishes to speak something else.
    pub fn take(head: &mut Parts) -> Result<Option<Self>, ExchangeError> {
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
            "websocket" => Ok(head.extensions.remove().map(|client| Self { client })),
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
        head.extensions.clear();
        let request = Request::from_parts(head, Content::empty());
        let mut answer = proxy.next_hops.forward(permit, request, Offer::Http1).await?;
        if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return relay(answer, mask, revocation, recording);
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
        let recording = recording.clone();
        proxy.tasks.spawn(relay_both(self.client, origin, revocation, recording));
        Ok(Response::from_parts(answered, ClientBody::full(bytes::Bytes::new())))
    }
}

async fn relay_both(client: OnUpgrade, origin: OnUpgrade, revocation: Revocation, recording: Arc<Recording>) {
    let (client, origin) = match tokio::try_join!(client, origin) {
        Ok(both) => both,
        Err(error) => {
            return recording.note(|draft| {
                draft.outcome = Outcome::Failed;
                draft.error = Some("connection_terminated");
                draft.reason = Some(error.to_string());
            });
        }
    };
    let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
    let relayed = tokio::select! {
        relayed = copy_both(&mut client, &mut origin) => Some(relayed),
        () = revocation.revoked() => None,
    };
    recording.note(|draft| match relayed {
        // A WebSocket often ends with a reset; both ends have said goodbye inside by then (RFC 6455 §7.1.1).
        Some(Ok(_) | Err(_)) => draft.outcome = Outcome::Completed,
        None => {
            draft.outcome = Outcome::Denied;
            draft.error = Some("revoked");
            draft.reason = Some("the route table no longer grants this exchange".to_owned());
        }
    });
    if let Some(Ok((sent, received))) = relayed {
        recording.count_request(usize::try_from(sent).unwrap_or(usize::MAX));
        recording.count_response(usize::try_from(received).unwrap_or(usize::MAX));
    }
}

/// Writes the two fields that were stripped as hop-by-hop and that this hop wants to say itself.
fn ask_for_websocket(fields: &mut HeaderMap) {
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

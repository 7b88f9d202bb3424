//! The outer face: asks the inspector over pooled HTTP/1.1 connections and tells its verdict from its failures.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use shared::authority::Authority;

use super::{
    InspectError, InspectorAddress, question,
    waiting::{State, Ticket, Waiting},
};
use crate::{
    content::{Collected, Content},
    dial,
};

/// How long the inspector may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// Asks.
pub struct Outer {
    address: InspectorAddress,
    idle: Arc<Mutex<Vec<http1::SendRequest<Content>>>>,
}

impl Outer {
    pub fn new(address: InspectorAddress) -> Self {
        Self { address, idle: Arc::default() }
    }

    /// One question, asked again with a new id where a pooled connection turned out to be dead.
    ///
    /// # Errors
    /// The inspector's refusal, or whatever kept it from a verdict.
    pub async fn ask(
        &self,
        waiting: &Arc<Waiting>,
        authority: &Authority,
        head: &Parts,
        content: &Collected,
    ) -> Result<(), InspectError> {
        loop {
            let (mut sender, pooled) = match self.take_idle() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            let ticket = waiting.enter(content);
            let request = question::write(&self.address, authority, head, content, ticket.id())?;
            match sender.send_request(request).await {
                Ok(response) => return self.verdict(response, sender, &ticket).await,
                Err(_) if pooled && ticket.state() == State::Pending => {}
                Err(error) => return Err(InspectError::Exchange(error)),
            }
        }
    }

    async fn verdict(
        &self,
        response: Response<Incoming>,
        sender: http1::SendRequest<Content>,
        ticket: &Ticket,
    ) -> Result<(), InspectError> {
        let (head, body) = response.into_parts();
        let text = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(_) => Bytes::new(),
        };
        self.give_back(sender);
        match (head.status, ticket.state()) {
            (StatusCode::OK, State::Confirmed) => Ok(()),
            (StatusCode::OK, State::Pending | State::Mismatched) => Err(InspectError::Unconfirmed),
            (StatusCode::FORBIDDEN, State::Pending) if is_refusal(&head.headers, &text) => {
                Err(InspectError::Blocked(String::from_utf8_lossy(&text).trim().to_owned()))
            }
            (status, _) => {
                let text = String::from_utf8_lossy(&text).trim().chars().take(200).collect();
                Err(InspectError::Failed { status: status.as_u16(), text })
            }
        }
    }

    async fn connect(&self) -> Result<http1::SendRequest<Content>, InspectError> {
        let stream = dial::configured(&self.address.host, self.address.port, CONNECT).await;
        let stream = TokioIo::new(stream.map_err(InspectError::Unreachable)?);
        let (sender, connection) = http1::handshake(stream).await.map_err(InspectError::Exchange)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_idle(&self) -> Option<http1::SendRequest<Content>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn give_back(&self, mut sender: http1::SendRequest<Content>) {
        let idle = self.idle.clone();
        if sender.is_ready() {
            return idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        // An early refusal: the connection is free once the rest of the question has been taken.
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
            }
        });
    }
}

/// Whether a 403 has pipelock's form and the text of a finding. The rest of its 403s are troubles of its own.
fn is_refusal(fields: &HeaderMap, text: &[u8]) -> bool {
    const TROUBLES: [&str; 12] = [
        "SSRF",
        "airlock",
        "compressed response cannot be scanned",
        "core SSRF",
        "data budget",
        "domain not in allowlist",
        "error reading request body",
        "rate limit",
        "redirect",
        "response contains injection",
        "response read error",
        "session",
    ];
    let begins = |name: HeaderName, value: &str| {
        fields.get(name).is_some_and(|found| found.as_bytes().starts_with(value.as_bytes()))
    };
    let form = begins(header::CONTENT_TYPE, "text/plain") && begins(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let finding = std::str::from_utf8(text).ok().and_then(|text| text.strip_prefix("blocked: "));
    form && finding.is_some_and(|finding| !TROUBLES.iter().any(|trouble| finding.starts_with(trouble)))
}

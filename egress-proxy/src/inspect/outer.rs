//! The outer face: asks the inspector over pooled HTTP/1.1 connections and tells its verdict from its failures.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use shared::authority::Authority;

use super::{
    InspectError, InspectorAddress, question,
    waiting::{AnswerSlot, Returns, State, Ticket, Waiting},
};
use crate::{
    content::{Collected, Content},
    dial,
};

/// How long the inspector may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// How long a connection may idle: the inspector closes its own after 120 s.
const IDLE: Duration = Duration::from_secs(60);

/// Asks.
pub struct Outer {
    address: InspectorAddress,
    idle: Idle,
}

impl Outer {
    pub fn new(address: InspectorAddress) -> Self {
        Self { address, idle: Idle::default() }
    }

    /// One question, asked again with a new id where a pooled connection turned out to be dead. Where the origin's answer
    /// is to be judged too, the way back for it.
    ///
    /// # Errors
    /// The inspector's refusal, or whatever kept it from a verdict.
    pub async fn ask(
        &self,
        waiting: &Arc<Waiting>,
        authority: &Authority,
        head: &Parts,
        content: &Collected,
        returns: Returns,
    ) -> Result<Option<WayBack>, InspectError> {
        loop {
            let (mut sender, pooled) = match self.idle.take() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            let mut ticket = waiting.enter(content, returns);
            let request = question::write(&self.address, authority, head, content, ticket.id())?;
            let mut answer: Answering = Box::pin(sender.send_request(request));
            let answered = tokio::select! {
                biased;
                Some(slot) = ticket.came_back() => {
                    let verdict = Verdict { answer, ticket, sender, idle: self.idle.clone() };
                    return Ok(Some(WayBack { slot, verdict }));
                }
                answered = &mut answer => answered,
            };
            match answered {
                Ok(response) => {
                    let verdict = Verdict { answer, ticket, sender, idle: self.idle.clone() };
                    return verdict.on_request(response).await.map(|()| None);
                }
                Err(_) if pooled && ticket.state() == State::Pending => {}
                Err(error) => return Err(InspectError::Exchange(error)),
            }
        }
    }

    /// Drops idle connections that are dead or old.
    pub fn reap(&self) {
        self.idle.reap();
    }

    async fn connect(&self) -> Result<http1::SendRequest<Content>, InspectError> {
        let stream = dial::configured(&self.address.host, self.address.port, CONNECT).await;
        let stream = TokioIo::new(stream.map_err(InspectError::Unreachable)?);
        let (sender, connection) = http1::handshake(stream).await.map_err(InspectError::Exchange)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

type Answering = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// An exchange that the inspector let pass and whose answer it waits for. Dropped, it ends the inspector's wait.
pub struct WayBack {
    /// Where the origin's answer goes in.
    pub slot: AnswerSlot,
    /// Where the inspector's comes out.
    pub verdict: Verdict,
}

/// What the inspector says in the end.
pub struct Verdict {
    answer: Answering,
    ticket: Ticket,
    sender: http1::SendRequest<Content>,
    idle: Idle,
}

impl Verdict {
    /// The head of its answer.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn head(&mut self) -> Result<Response<Incoming>, InspectError> {
        (&mut self.answer).await.map_err(InspectError::Exchange)
    }

    async fn on_request(self, response: Response<Incoming>) -> Result<(), InspectError> {
        let (head, body) = response.into_parts();
        let text = text(body).await;
        let state = self.give_back();
        match (head.status, state) {
            (StatusCode::OK, State::Confirmed) => Ok(()),
            (StatusCode::OK, State::Pending | State::Mismatched) => Err(InspectError::Unconfirmed),
            (StatusCode::FORBIDDEN, State::Pending) => match finding(&head.headers, &text) {
                Some(finding) if !is_trouble(finding, &TROUBLES) => Err(InspectError::Blocked(finding.to_owned())),
                _ => Err(InspectError::failed(head.status, &text)),
            },
            (status, _) => Err(InspectError::failed(status, &text)),
        }
    }

    /// What any other head than a 200 means for an answer that was shown: the inspector's refusal, or a failure.
    pub async fn on_answer(response: Response<Incoming>) -> InspectError {
        let (head, body) = response.into_parts();
        let text = text(body).await;
        match finding(&head.headers, &text) {
            Some(finding) if head.status == StatusCode::FORBIDDEN && !is_trouble(finding, &ANSWER_TROUBLES) => {
                InspectError::AnswerBlocked(finding.to_owned())
            }
            _ => InspectError::failed(head.status, &text),
        }
    }

    /// The answer has been read to its end: the connection is free.
    pub fn give_back(self) -> State {
        self.idle.give_back(self.sender);
        self.ticket.state()
    }
}

async fn text(body: Incoming) -> String {
    match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// Connections between questions.
#[derive(Clone, Default)]
struct Idle(Arc<Mutex<Vec<Rested>>>);

/// A connection, and since when it rests.
type Rested = (http1::SendRequest<Content>, Instant);

impl Idle {
    fn take(&self) -> Option<http1::SendRequest<Content>> {
        let mut idle = self.lock();
        while let Some((sender, since)) = idle.pop() {
            if sender.is_ready() && since.elapsed() < IDLE {
                return Some(sender);
            }
        }
        None
    }

    fn give_back(&self, mut sender: http1::SendRequest<Content>) {
        if sender.is_ready() {
            return self.lock().push((sender, Instant::now()));
        }
        if sender.is_closed() {
            return;
        }
        let idle = self.clone();
        // An early refusal: the connection is free once the rest of the question has been taken.
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                idle.lock().push((sender, Instant::now()));
            }
        });
    }

    fn reap(&self) {
        self.lock().retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Rested>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text after `blocked: ` of an answer in pipelock's form.
fn finding<'t>(fields: &HeaderMap, text: &'t str) -> Option<&'t str> {
    let begins = |name: HeaderName, value: &str| {
        fields.get(name).is_some_and(|found| found.as_bytes().starts_with(value.as_bytes()))
    };
    let form = begins(header::CONTENT_TYPE, "text/plain") && begins(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    text.strip_prefix("blocked: ").filter(|_| form)
}

fn is_trouble(finding: &str, troubles: &[&str]) -> bool {
    troubles.iter().any(|trouble| finding.starts_with(trouble))
}

/// 403s to a request that are troubles of pipelock's own, and no verdict on it.
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

/// The same to an answer.
const ANSWER_TROUBLES: [&str; 4] =
    ["compressed", "data budget", "response body exceeds browser shield", "response read error"];

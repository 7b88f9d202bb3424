//! One HTTP/1.1 connection to an origin, driven by the task of the exchange that uses it: request and answer cost one
//! wake-up each, not two across tasks, and an idle connection has no task at all. Never driven by two.
//!
//! A short request is written, and its answer read, without the HTTP library ([`direct`]). Content that is streamed both
//! ways at once, and what switches protocols, goes through the library, to which the connection is left from then on.

mod direct;
mod library;

use std::{pin::pin, task::Context};

use http::{Request, Response};
use hyper_util::rt::TokioIo;

pub use self::direct::{AnswerError, Direct, Stream};
use self::library::Library;
use super::{ForwardError, Incoming, Lost};
use crate::{
    content::{Collected, Content},
    websocket::Handshake,
};

/// The most that an origin's fields may take, in bytes.
pub const MAX_HEAD: usize = 256 * 1024;
/// The longest content that is written in one piece with its head.
const SHORT: usize = 64 * 1024;

/// A connection that has spoken HTTP/1.1 or is about to.
pub enum Http1 {
    Direct(Box<Direct>),
    Library(Library),
}

impl Http1 {
    /// One whose handshake's end, if `is_held`, was written and waits for the first request.
    pub fn new(stream: Box<dyn Stream>, is_held: bool) -> Self {
        Self::Direct(Box::new(Direct::new(stream, is_held)))
    }

    /// Sends a request and waits for its answer's head.
    ///
    /// # Errors
    /// The connection was lost, or the answer is none; the request comes back where nothing of it was sent.
    pub async fn exchange(&mut self, request: Request<Content>) -> Result<Response<Incoming>, Lost> {
        let Self::Direct(direct) = self else { return Box::pin(self.through_library(request)).await };
        if !direct.is_held() && !direct.is_ready() {
            return Err(Lost { unsent: Some(request), ..AnswerError::Incomplete.into() });
        }
        let Some(content) = short(&request) else { return Box::pin(self.through_library(request)).await };
        let answer = direct.exchange(&request, content).await?;
        Ok(answer.map(|()| Incoming::Direct))
    }

    async fn through_library(&mut self, request: Request<Content>) -> Result<Response<Incoming>, Lost> {
        let library = match self {
            Self::Library(library) => library,
            Self::Direct(direct) => {
                let library = Library::new(TokioIo::new(direct.take_stream())).await;
                *self = Self::Library(library.map_err(ForwardError::Handshake)?);
                let Self::Library(library) = self else { unreachable!("it was just put there") };
                library
            }
        };
        let answer = pin!(library.send(request));
        Ok(library.answer(answer).await?.map(Incoming::Http1))
    }

    /// Reads and writes what can be read and written now; wakes `cx` when there is more.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Self::Library(library) = self {
            library.drive(cx);
        }
    }

    /// Whether a request can be sent now. Without a task nobody else has seen that the origin closed the connection.
    pub fn is_ready(&mut self) -> bool {
        match self {
            Self::Direct(direct) => direct.is_ready(),
            Self::Library(library) => library.is_ready(),
        }
    }

    pub fn is_closed(&mut self) -> bool {
        match self {
            Self::Direct(direct) => !direct.is_ready(),
            Self::Library(library) => library.is_closed(),
        }
    }
}

/// The content of a request that is written in one piece.
fn short(request: &Request<Content>) -> Option<&Collected> {
    let Content::Collected(content) = request.body() else { return None };
    let is_short = content.trailers.is_none() && content.remaining() <= SHORT;
    (is_short && request.extensions().get::<Handshake>().is_none()).then_some(content)
}

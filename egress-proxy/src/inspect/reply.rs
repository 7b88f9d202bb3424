//! What the inner face tells the inspector about an origin's answer: its decoded content and its type, and nothing else.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::content::Collected;

/// An answer for the inspector to judge.
pub struct Reply {
    pub content_type: Option<HeaderValue>,
    pub body: ReplyBody,
}

/// Its content.
pub enum ReplyBody {
    Whole(Collected),
    /// Server-sent events, as they come.
    Events(mpsc::UnboundedReceiver<Bytes>),
}

impl ReplyBody {
    pub fn empty() -> Self {
        Self::Whole(Collected::default())
    }
}

impl From<Reply> for Response<ReplyBody> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::new(reply.body);
        response.headers_mut().extend(reply.content_type.map(|value| (header::CONTENT_TYPE, value)));
        response
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(content) => Poll::Ready(content.next_frame().map(Ok)),
            Self::Events(events) => events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(content) if content.remaining() == 0)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(content) => SizeHint::with_exact(content.remaining() as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

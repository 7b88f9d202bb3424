//! What the operator's listener answers with: a page, or records as they are written, in the format of server-sent
//! events. A reader that is slow loses records and is told how many; it holds up nothing.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};

use crate::record::{Heard, Subscription};

/// How long a reader hears nothing before it is told that there is nothing.
const SILENCE: Duration = Duration::from_secs(15);

/// The content of an answer.
pub enum Answer {
    Live(Live),
    Whole(Option<Bytes>),
}

/// One reader of records.
pub struct Live {
    /// Waits for what is next, with the subscription in it.
    next: Pin<Box<dyn Future<Output = (Option<Heard>, Subscription)> + Send>>,
    silence: Pin<Box<Sleep>>,
    greeted: bool,
}

impl Answer {
    pub fn whole(text: String) -> Self {
        Self::Whole(Some(text.into()))
    }

    pub fn live(subscription: Subscription) -> Self {
        Self::Live(Live { next: wait(subscription), silence: Box::pin(sleep(SILENCE)), greeted: false })
    }
}

fn wait(mut subscription: Subscription) -> Pin<Box<dyn Future<Output = (Option<Heard>, Subscription)> + Send>> {
    Box::pin(async move { (subscription.next().await, subscription) })
}

impl Live {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !std::mem::replace(&mut self.greeted, true) {
            // The head goes out at once, so that a reader knows that it hears from here on.
            return Poll::Ready(Some(Bytes::from_static(b": records as they are written\n\n")));
        }
        let event = match self.next.as_mut().poll(cx) {
            Poll::Ready((None, _)) => None,
            Poll::Ready((Some(heard), subscription)) => {
                self.next = wait(subscription);
                Some(event(&heard))
            }
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(cx));
                Some(Bytes::from_static(b":\n\n"))
            }
        };
        self.silence = Box::pin(sleep(SILENCE));
        Poll::Ready(event)
    }
}

fn event(heard: &Heard) -> Bytes {
    match heard {
        Heard::Lost(count) => format!("event: lost\ndata: {count}\n\n").into(),
        Heard::Record(line) => [b"event: record\ndata: ", &line[..], b"\n\n"].concat().into(),
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Live(live) => live.poll_event(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
            Self::Whole(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Live(_) => http_body::SizeHint::default(),
            Self::Whole(text) => http_body::SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

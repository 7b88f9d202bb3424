//! Exchanges under way, so that a reload can end those that the new table no longer grants. A request that is only being
//! answered slowly is not touched as long as it is still granted. What is ended is ended both ways: its answer, the
//! content that still goes out, and the wait for an answer that has not begun.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use http::{HeaderMap, Method, uri::PathAndQuery};
use shared::{authority::Authority, routes::Scheme};
use slab::Slab;
use thiserror::Error;

use crate::policy::{Judged, Policy};

/// All exchanges under way.
#[derive(Clone, Default)]
pub struct Live {
    entries: Arc<Mutex<Slab<Entry>>>,
}

struct Entry {
    scheme: Scheme,
    authority: Arc<Authority>,
    method: Method,
    target: PathAndQuery,
    fields: Arc<HeaderMap>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    revoked: AtomicBool,
    /// Content and answer are polled by different tasks, and both must wake.
    content: AtomicWaker,
    answer: AtomicWaker,
}

impl Live {
    /// Enters an exchange that was granted. The grant is to be renewed afterwards: a reload in between has not seen it.
    pub fn enter(&self, request: Judged<'_>) -> Revocation {
        let signal = Arc::new(Signal::default());
        let entry = Entry {
            scheme: request.scheme,
            authority: request.authority.clone(),
            method: request.method.clone(),
            target: request.target.clone(),
            fields: request.fields.clone(),
            signal: signal.clone(),
        };
        let number = self.lock().insert(entry);
        Revocation { live: self.clone(), number, signal }
    }

    /// Ends every exchange that `policy` no longer grants.
    pub fn revoke(&self, policy: &Policy) {
        for (_, entry) in self.lock().iter() {
            let judged = Judged {
                scheme: entry.scheme,
                authority: &entry.authority,
                method: &entry.method,
                target: &entry.target,
                fields: &entry.fields,
            };
            if !policy.still_grants(judged) {
                entry.signal.revoked.store(true, Ordering::Release);
                entry.signal.content.wake();
                entry.signal.answer.wake();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exchange's entry; leaves the list when dropped.
pub struct Revocation {
    live: Live,
    number: usize,
    signal: Arc<Signal>,
}

impl Revocation {
    /// Whether the exchange is to end; wakes `cx` when it is.
    pub fn poll_revoked(&self, cx: &Context<'_>) -> bool {
        self.signal.answer.register(cx.waker());
        self.signal.revoked.load(Ordering::Acquire)
    }

    /// The same news for the request's content.
    pub fn of_content(&self) -> ContentRevocation {
        ContentRevocation(self.signal.clone())
    }

    /// Does `work`, unless the exchange is to end first.
    ///
    /// # Errors
    /// The exchange is to end.
    pub async fn unless_revoked<T>(&self, work: impl Future<Output = T>) -> Result<T, Revoked> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if self.poll_revoked(cx) => Poll::Ready(Err(Revoked)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Ends when the exchange is to end.
    pub async fn revoked(&self) {
        poll_fn(|cx| if self.poll_revoked(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Tells the content of one exchange that it may not go on.
pub struct ContentRevocation(Arc<Signal>);

impl ContentRevocation {
    /// Whether the exchange is to end; wakes `cx` when it is.
    pub fn poll_revoked(&self, cx: &Context<'_>) -> bool {
        self.0.content.register(cx.waker());
        self.0.revoked.load(Ordering::Acquire)
    }
}

/// An exchange was granted and is no longer.
#[derive(Clone, Copy, Debug, Error)]
#[error("the route table no longer grants this exchange")]
pub struct Revoked;

impl Drop for Revocation {
    fn drop(&mut self) {
        self.live.lock().remove(self.number);
    }
}

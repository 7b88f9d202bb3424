//! Exchanges under way, so that a reload can end those that the new table no longer grants. A request that is only being
//! answered slowly is not touched as long as it is still granted. What is ended is ended both ways: its answer, the
//! content that still goes out, and the wait for an answer that has not begun.
//!
//! The same list tells which exchanges have waited too long for their answers: one clock looks at all of them a few times
//! within the limit, so that no exchange sets a timer of its own.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use atomic_waker::AtomicWaker;
use slab::Slab;
use thiserror::Error;

use crate::policy::{Judged, Policy};

/// So many looks make up the limit for an answer; it is noticed by so much later than it should at most.
const LOOKS: u32 = 16;
/// After so many looks an answer is late: the first may come as soon as it is waited for.
const LATE: u32 = LOOKS + 1;

/// All exchanges under way.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    entries: Mutex<Slab<Entry>>,
    /// How long an answer may take to begin once nothing more goes out.
    limit: Duration,
    /// Whether the clock runs.
    watched: AtomicBool,
}

struct Entry {
    request: Arc<Judged>,
    signal: Weak<Signal>,
}

/// What an exchange and its content are told. The entry leaves the list with it.
struct Signal {
    live: Live,
    number: usize,
    revoked: AtomicBool,
    /// One more than the looks since an answer is waited for; 0 while none is.
    looks: AtomicU32,
    /// Content and answer are polled by different tasks, and both must wake.
    content: AtomicWaker,
    answer: AtomicWaker,
}

impl Live {
    /// With how long an answer may take to begin once nothing more of the request goes out.
    pub fn new(limit: Duration) -> Self {
        Self(Arc::new(Shared { entries: Mutex::default(), limit, watched: AtomicBool::new(false) }))
    }

    /// Enters an exchange that was granted. The grant is to be renewed afterwards: a reload in between has not seen it.
    pub fn enter(&self, request: Arc<Judged>) -> Revocation {
        let mut entries = self.0.lock();
        let place = entries.vacant_entry();
        let signal = Arc::new(Signal {
            live: self.clone(),
            number: place.key(),
            revoked: AtomicBool::new(false),
            looks: AtomicU32::new(0),
            content: AtomicWaker::new(),
            answer: AtomicWaker::new(),
        });
        place.insert(Entry { request, signal: Arc::downgrade(&signal) });
        Revocation(signal)
    }

    /// Ends every exchange that `policy` no longer grants.
    pub fn revoke(&self, policy: &Policy) {
        for signal in self.0.signals(|request| !policy.still_grants(request)) {
            signal.revoked.store(true, Ordering::Release);
            signal.content.wake();
            signal.answer.wake();
        }
    }

    /// Lets the clock run. It ends by itself, and only when no exchange is under way.
    fn watch(&self) {
        if self.0.watched.load(Ordering::Relaxed) || self.0.watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = self.0.clone();
        tokio::spawn(async move {
            while {
                tokio::time::sleep(shared.limit / LOOKS).await;
                shared.look()
            } {}
        });
    }
}

impl Shared {
    /// Looks at every exchange once; `false` when there is none.
    fn look(&self) -> bool {
        for signal in self.signals(|_| true) {
            let looks = signal.looks.load(Ordering::Relaxed);
            if looks > 0 {
                // Whoever no longer waits, or waits anew, says so in between.
                let _said = signal.looks.compare_exchange(looks, looks + 1, Ordering::Relaxed, Ordering::Relaxed);
            }
            if looks >= LATE {
                signal.answer.wake();
            }
        }
        let entries = self.lock();
        if entries.is_empty() {
            // Before the lock is given back: an exchange that enters later finds that nobody watches.
            self.watched.store(false, Ordering::Relaxed);
        }
        !entries.is_empty()
    }

    /// The signals of these exchanges, to be used and dropped without the lock: with the last of one its entry leaves.
    fn signals(&self, of: impl Fn(&Judged) -> bool) -> Vec<Arc<Signal>> {
        let entries = self.lock();
        entries.iter().filter(|(_, entry)| of(&entry.request)).filter_map(|(_, entry)| entry.signal.upgrade()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exchange's entry; it leaves the list when this and its content's are dropped.
pub struct Revocation(Arc<Signal>);

impl Revocation {
    /// Whether the exchange is to end.
    pub fn is_revoked(&self) -> bool {
        self.0.revoked.load(Ordering::Acquire)
    }

    /// The same; wakes `cx` when it is.
    pub fn poll_revoked(&self, cx: &Context<'_>) -> bool {
        self.0.answer.register(cx.waker());
        self.is_revoked()
    }

    /// The same news for the request's content.
    pub fn of_content(&self) -> ContentRevocation {
        ContentRevocation(self.0.clone())
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

    /// Waits for an answer, unless the exchange is to end first: while `sent` goes up, and as long as the limit says after
    /// that. `None` where it did not come in time.
    ///
    /// # Errors
    /// The exchange is to end.
    pub async fn answer<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
        sent: impl Fn() -> u64,
    ) -> Result<Option<T>, Revoked> {
        let looks = &self.0.looks;
        let mut before = sent();
        looks.store(1, Ordering::Relaxed);
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(Some(answer)));
            }
            if self.poll_revoked(cx) {
                return Poll::Ready(Err(Revoked));
            }
            self.0.live.watch();
            if looks.load(Ordering::Relaxed) > LATE {
                let now = sent();
                if now == before {
                    return Poll::Ready(Ok(None));
                }
                before = now;
                looks.store(1, Ordering::Relaxed);
            }
            Poll::Pending
        });
        let answer = answer.await;
        looks.store(0, Ordering::Relaxed);
        answer
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

impl Drop for Signal {
    fn drop(&mut self) {
        self.live.0.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending, time::Instant};

    use http::{HeaderMap, Method, uri::PathAndQuery};
    use shared::routes::Scheme;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(80);

    fn entered(live: &Live) -> Revocation {
        let (authority, target) = (Arc::new("a.example:443".parse().unwrap()), PathAndQuery::from_static("/"));
        live.enter(Arc::new(Judged::new(Scheme::Https, authority, Method::GET, target, &HeaderMap::new())))
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_late_and_not_before_the_limit() {
        let live = Live::new(LIMIT);
        let revocation = entered(&live);
        let began = Instant::now();
        assert!(matches!(revocation.answer(pin!(pending::<()>()), || 0).await, Ok(None)));
        assert!(began.elapsed() >= LIMIT);
    }

    #[tokio::test]
    async fn what_still_goes_out_is_waited_for() {
        let live = Live::new(LIMIT);
        let revocation = entered(&live);
        let (began, asked) = (Instant::now(), Cell::new(0));
        // It goes up as often as it is asked, at first.
        let sent = || {
            asked.set((asked.get() + 1).min(4));
            asked.get()
        };
        assert!(matches!(revocation.answer(pin!(pending::<()>()), sent).await, Ok(None)));
        assert!(began.elapsed() >= 4 * LIMIT);
    }

    #[tokio::test]
    async fn the_clock_stops_with_the_last_exchange_and_starts_again() {
        let live = Live::new(LIMIT);
        for _ in 0..2 {
            let revocation = entered(&live);
            assert!(matches!(revocation.answer(pin!(pending::<()>()), || 0).await, Ok(None)));
            assert!(live.0.watched.load(Ordering::Relaxed));
            drop(revocation);
            while live.0.watched.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        }
    }
}

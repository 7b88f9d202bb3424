//! Exchanges under way, so that a reload can end those that the new table no longer grants. A request that is only being
//! answered slowly is not touched as long as it is still granted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use atomic_waker::AtomicWaker;
use http::{HeaderMap, Method, uri::PathAndQuery};
use shared::{
    authority::Authority,
    routes::{PathRules, Scheme},
};

use crate::policy::{Judged, Policy, RequestPermit};

/// All exchanges under way.
#[derive(Clone, Default)]
pub struct Live {
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    by_number: HashMap<u64, Entry>,
}

struct Entry {
    scheme: Scheme,
    authority: Arc<Authority>,
    method: Method,
    target: PathAndQuery,
    /// Kept only where a rule looks at fields.
    fields: HeaderMap,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    revoked: AtomicBool,
    waker: AtomicWaker,
}

impl Live {
    pub fn enter(&self, permit: &RequestPermit, request: Judged<'_>) -> Revocation {
        let looks_at_fields = matches!(permit.route().paths, PathRules::Matches(_));
        let signal = Arc::new(Signal::default());
        let entry = Entry {
            scheme: request.scheme,
            authority: request.authority.clone(),
            method: request.method.clone(),
            target: request.target.clone(),
            fields: if looks_at_fields { request.fields.clone() } else { HeaderMap::new() },
            signal: signal.clone(),
        };
        let mut entries = self.lock();
        let number = entries.next;
        entries.next += 1;
        entries.by_number.insert(number, entry);
        Revocation { live: self.clone(), number, signal }
    }

    /// Ends every exchange that `policy` no longer grants.
    pub fn revoke(&self, policy: &Policy) {
        for entry in self.lock().by_number.values() {
            let judged = Judged {
                scheme: entry.scheme,
                authority: &entry.authority,
                method: &entry.method,
                target: &entry.target,
                fields: &entry.fields,
            };
            if !policy.still_grants(judged) {
                entry.signal.revoked.store(true, Ordering::Release);
                entry.signal.waker.wake();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exchange's entry; leaves the list when dropped.
pub struct Revocation {
    live: Live,
    number: u64,
    signal: Arc<Signal>,
}

impl Revocation {
    /// Whether the exchange is to end; wakes `cx` when it is.
    pub fn poll_revoked(&self, cx: &Context<'_>) -> bool {
        self.signal.waker.register(cx.waker());
        self.signal.revoked.load(Ordering::Acquire)
    }

    /// Ends when the exchange is to end.
    pub async fn revoked(&self) {
        std::future::poll_fn(
            |cx| if self.poll_revoked(cx) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending },
        )
        .await;
    }
}

impl Drop for Revocation {
    fn drop(&mut self) {
        self.live.lock().by_number.remove(&self.number);
    }
}

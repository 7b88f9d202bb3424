//! Two futures of one task of which one is woken all the time and the other hardly ever: the latter is polled only when it
//! was woken itself, not each time that the task is.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use atomic_waker::AtomicWaker;

/// Which of the two came first.
pub enum First<O, S> {
    Often(O),
    Seldom(S),
}

/// Ends with the first of the two; where both are ready, with `often`.
pub async fn first<O: Future, S: Future>(
    mut often: Pin<&mut O>,
    mut seldom: Pin<&mut S>,
) -> First<O::Output, S::Output> {
    let bell = Arc::new(Bell { rang: AtomicBool::new(true), task: AtomicWaker::new() });
    let ring = Waker::from(bell.clone());
    poll_fn(|cx| {
        if let Poll::Ready(done) = often.as_mut().poll(cx) {
            return Poll::Ready(First::Often(done));
        }
        // Registered before it is asked, so that no ring in between is lost.
        bell.task.register(cx.waker());
        if !bell.rang.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        seldom.as_mut().poll(&mut Context::from_waker(&ring)).map(First::Seldom)
    })
    .await
}

/// Wakes the task, and says for whom.
struct Bell {
    rang: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::AtomicUsize,
        task::{Poll, Waker},
    };

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn the_seldom_one_is_polled_when_it_was_woken_and_not_before() {
        let polls = AtomicUsize::new(0);
        let (ring, mut rung) = oneshot::channel();
        let seldom = pin!(poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut rung).poll(cx)
        }));
        let often = pin!(std::future::pending::<()>());
        let mut both = pin!(first(often, seldom));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(both.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        ring.send(7).unwrap();
        assert!(matches!(both.as_mut().poll(&mut cx), Poll::Ready(First::Seldom(Ok(7)))));
    }

    #[tokio::test]
    async fn a_ring_wakes_the_task() {
        let (ring, rung) = oneshot::channel();
        let waits = tokio::spawn(async move {
            let (often, seldom) = (pin!(std::future::pending::<()>()), pin!(rung));
            matches!(first(often, seldom).await, First::Seldom(Ok(7)))
        });
        tokio::task::yield_now().await;
        ring.send(7).unwrap();
        assert!(waits.await.unwrap());
    }
}

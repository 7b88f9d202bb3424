//! Clients that ask again and again, and what they were answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::client::{Answer, Client, Failure, get};
use harness::within;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// Clients under way.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    answered: Arc<(AtomicUsize, Notify)>,
    clients: JoinSet<Tally>,
}

/// Answers by status, and exchanges without one.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answers: BTreeMap<u16, usize>,
    pub(crate) failures: Vec<String>,
}

impl Load {
    /// So many clients, half of them HTTP/2, each on a connection that it keeps.
    pub(crate) fn begin(client: &Client, authority: &str, path: &str, clients: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let answered = Arc::new((AtomicUsize::new(0), Notify::new()));
        let mut set = JoinSet::new();
        for number in 0..clients {
            let client = if number % 2 == 0 { client.clone() } else { client.h2() };
            let (authority, url) = (authority.to_owned(), format!("https://{authority}{path}"));
            set.spawn(ask(client, authority, url, stopped.clone(), answered.clone()));
        }
        Self { stop, answered, clients: set }
    }

    /// Waits until so many more exchanges have been answered.
    pub(crate) async fn goes_on_for(&self, exchanges: usize) {
        let (count, told) = &*self.answered;
        let enough = count.load(Ordering::SeqCst) + exchanges;
        let waiting = async {
            loop {
                let next = told.notified();
                if count.load(Ordering::SeqCst) >= enough {
                    return;
                }
                next.await;
            }
        };
        within("answers under load", waiting).await;
    }

    /// Lets every client finish what it began.
    pub(crate) async fn end(mut self) -> Tally {
        self.stop.send_replace(true);
        let mut tally = Tally::default();
        while let Some(client) = within("the end of a client", self.clients.join_next()).await {
            let client = client.expect("no client panics");
            tally.failures.extend(client.failures);
            for (status, count) in client.answers {
                *tally.answers.entry(status).or_default() += count;
            }
        }
        tally
    }
}

impl Tally {
    /// Fails unless every exchange was answered with success.
    #[track_caller]
    pub(crate) fn lost_nothing(&self) {
        assert!(self.failures.is_empty(), "{} failures, first {:?}", self.failures.len(), self.failures.first());
        assert!(self.answers.keys().all(|status| *status == 200), "{:?}", self.answers);
        println!("{} answers, none lost", self.answers.values().sum::<usize>());
    }
}

async fn ask(
    client: Client,
    authority: String,
    url: String,
    stopped: watch::Receiver<bool>,
    answered: Arc<(AtomicUsize, Notify)>,
) -> Tally {
    let mut tally = Tally::default();
    let mut session = None;
    while !*stopped.borrow() {
        if session.is_none() {
            match client.session(&authority).await {
                Ok(opened) => session = Some(opened),
                Err(error) => {
                    tally.failures.push(error.to_string());
                    tokio::task::yield_now().await;
                    continue;
                }
            }
        }
        let Some(open) = &mut session else { continue };
        let answer: Result<Answer, Failure> = open.send(get(&url)).await;
        match answer {
            Ok(answer) => *tally.answers.entry(answer.status.as_u16()).or_default() += 1,
            Err(error) => {
                tally.failures.push(error.to_string());
                session = None;
            }
        }
        answered.0.fetch_add(1, Ordering::SeqCst);
        answered.1.notify_waiters();
    }
    tally
}

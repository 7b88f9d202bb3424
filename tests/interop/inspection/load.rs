//! pipelock killed, frozen, restarted and reconfigured while many exchanges are under way: what was judged clean arrives
//! once, what was not judged never, and whoever asks is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::client::{Client, post};
use harness::pipelock::{Answers, Inspector};
use tokio::task::JoinSet;

use super::{AWS_KEY, Inspected};

/// Clients that ask one after the other until they are told to stop.
const CLIENTS: usize = 12;

#[tokio::test]
async fn a_pipelock_that_is_killed_and_comes_back_lets_nothing_past_and_loses_nothing_it_let_pass() {
    let mut inspected = Inspected::start("").await;
    let load = Load::on(&inspected);
    for _ in 0..3 {
        load.answers(4 * CLIENTS).await;
        inspected.inspector.kill().await;
        load.answers(2 * CLIENTS).await;
        inspected.inspector.start_again().await;
    }
    load.ends_well(&inspected).await;
}

#[tokio::test]
async fn a_pipelock_that_freezes_for_a_moment_delays_and_refuses_nothing() {
    let inspected = Inspected::start("").await;
    let load = Load::on(&inspected);
    for _ in 0..3 {
        load.answers(2 * CLIENTS).await;
        inspected.inspector.freeze();
        // What is asked now waits.
        inspected.inspector.input().grows().await;
        inspected.inspector.thaw();
    }
    let answered = load.ends_well(&inspected).await;
    assert!(answered.iter().all(|status| [200, 403].contains(status)), "{answered:?}");
}

#[tokio::test]
async fn a_pipelock_whose_configuration_changes_keeps_judging() {
    let inspected = Inspected::start("").await;
    let load = Load::on(&inspected);
    // In mode `strict` it refuses a configuration that is weaker than the one before: this one is stricter, then the same.
    for _ in 0..3 {
        load.answers(4 * CLIENTS).await;
        inspected.inspector.reconfigure(Answers::Scanned).await;
    }
    let answered = load.ends_well(&inspected).await;
    assert!(answered.iter().all(|status| [200, 403].contains(status)), "{answered:?}");
}

/// Exchanges under way, every third of which pipelock must refuse.
struct Load {
    asking: JoinSet<Vec<u16>>,
    stop: Arc<AtomicBool>,
    answered: Arc<tokio::sync::Semaphore>,
}

impl Load {
    fn on(inspected: &Inspected) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(tokio::sync::Semaphore::new(0));
        let mut asking = JoinSet::new();
        for number in 0..CLIENTS {
            let client = if number % 2 == 0 { inspected.client() } else { inspected.client().h2() };
            let url = inspected.url("/echo");
            asking.spawn(ask(client, url, number, stop.clone(), answered.clone()));
        }
        Self { asking, stop, answered }
    }

    /// Waits for this many further answers.
    async fn answers(&self, count: usize) {
        let taken = self.answered.acquire_many(u32::try_from(count).expect("a few"));
        harness::within("answers under load", taken).await.expect("open").forget();
    }

    /// Stops, compares both ends, and says how each exchange was answered.
    async fn ends_well(mut self, inspected: &Inspected) -> Vec<u16> {
        self.answers(2 * CLIENTS).await;
        self.stop.store(true, Ordering::Release);
        let mut answered = Vec::new();
        while let Some(statuses) = self.asking.join_next().await {
            answered.extend(statuses.expect("no panic"));
        }
        let passed = answered.iter().filter(|status| **status == 200).count();
        let mut arrived: Vec<String> = Vec::new();
        for arrival in inspected.origin.seen().arrivals() {
            arrived.push(arrival.text().await);
        }
        assert!(arrived.iter().all(|content| !content.contains(AWS_KEY)), "a secret left");
        assert_eq!(arrived.len(), passed, "what was answered with 200 arrived once, and nothing else");
        arrived.sort();
        arrived.dedup();
        assert_eq!(arrived.len(), passed, "nothing arrived twice");
        assert!(answered.contains(&403) && passed > 0, "{answered:?}");
        answered
    }
}

async fn ask(
    client: Client,
    url: String,
    number: usize,
    stop: Arc<AtomicBool>,
    answered: Arc<tokio::sync::Semaphore>,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let turn = statuses.len();
        let secret = turn % 3 == number % 3;
        let content = if secret { format!("{number} {turn} {AWS_KEY}") } else { format!("{number} {turn}") };
        let status = client.send(post(&url, content)).await.status.as_u16();
        let expected = if secret { 403 } else { 200 };
        assert!(status == expected || [502, 503, 504].contains(&status), "{status} for {expected}");
        statuses.push(status);
        answered.add_permits(1);
    }
    statuses
}

#[tokio::test]
async fn exchanges_whose_answers_are_judged_survive_it_too() {
    let mut inspected = Inspected::asking(Inspector::start(Answers::Scanned).await, "exchange", "").await;
    let mut asking = JoinSet::new();
    for n in 0..CLIENTS {
        let (client, url) = (inspected.client(), inspected.url(&format!("/bytes?n=20000&x={n}")));
        asking.spawn(async move {
            let answer = client.get(&url).await;
            (answer.status.as_u16(), answer.content.len())
        });
    }
    inspected.inspector.kill().await;
    inspected.inspector.start_again().await;
    while let Some(asked) = asking.join_next().await {
        let (status, length) = asked.expect("no panic");
        assert!((status, length) == (200, 20_000) || [502, 503, 504].contains(&status), "{status}");
    }
    inspected.client().get(&inspected.url("/echo")).await.says(200, &[]);
}

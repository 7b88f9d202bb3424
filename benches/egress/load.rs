//! Load on one contender: requests for a while, timed one by one, with the processor time that the contender spent on them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http_body_util::BodyExt;
use tokio::task::JoinSet;

use crate::{
    client::{Content, Session},
    contender::Contender,
};

/// How much is asked for: until the time is over or the requests are done.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    pub time: Duration,
    pub requests: usize,
}

/// What a load came to.
pub struct Load {
    pub requests: usize,
    pub wall: Duration,
    /// Of the proxy's process.
    pub cpu: Option<Duration>,
    /// Of the inspector beside it.
    pub inspector_cpu: Option<Duration>,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Load {
    /// In microseconds.
    pub fn cpu_per_request(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.requests as f64)
    }

    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// How much of one core the proxy was busy with, in percent: near 100 the proxy is what limits.
    pub fn busy(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() / self.wall.as_secs_f64() * 100.0)
    }

    /// In milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// What one request of a load is.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    Small,
    Download(u64),
    Upload(u64),
}

impl Request {
    async fn send(self, session: &mut Session) -> anyhow::Result<()> {
        match self {
            Self::Small => session.small().await,
            Self::Download(length) => session.download(length).await,
            Self::Upload(length) => session.upload(length).await,
        }
    }
}

/// Requests on connections that stay open.
pub async fn keep_alive(
    contender: &Contender,
    connections: usize,
    request: Request,
    amount: Amount,
) -> anyhow::Result<Load> {
    let mut sessions = Vec::new();
    for _ in 0..connections {
        let mut session = contender.way.h1(contender.way.host).await?;
        session.small().await?;
        sessions.push(session);
    }
    on_sessions(contender, sessions, request, amount).await
}

/// Small GETs on streams of one h2 connection.
pub async fn streams(contender: &Contender, streams: usize, amount: Amount) -> anyhow::Result<Load> {
    let mut session = contender.way.h2(contender.way.host).await?;
    session.small().await?;
    let sessions = (0..streams).filter_map(|_| session.stream()).collect();
    on_sessions(contender, sessions, Request::Small, amount).await
}

async fn on_sessions(
    contender: &Contender,
    sessions: Vec<Session>,
    request: Request,
    amount: Amount,
) -> anyhow::Result<Load> {
    measured(contender, async move {
        let turns = Turns::new(amount);
        let mut tasks = JoinSet::new();
        for mut session in sessions {
            let turns = turns.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while turns.next() {
                    let began = Instant::now();
                    request.send(&mut session).await?;
                    latencies.push(began.elapsed());
                }
                anyhow::Ok(latencies)
            });
        }
        joined(tasks).await
    })
    .await
}

/// Small GETs, each on a connection of its own.
pub async fn new_connections(contender: &Contender, clients: usize, amount: Amount) -> anyhow::Result<Load> {
    contender.way.h1(contender.way.host).await?.small().await?;
    measured(contender, async {
        let turns = Turns::new(amount);
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (way, turns) = (contender.way.clone(), turns.clone());
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while turns.next() {
                    let began = Instant::now();
                    way.h1(way.host).await?.small().await?;
                    latencies.push(began.elapsed());
                }
                anyhow::Ok(latencies)
            });
        }
        joined(tasks).await
    })
    .await
}

/// The first request to each of these names, one after the other.
pub async fn names(contender: &Contender, names: &[String]) -> anyhow::Result<Load> {
    measured(contender, async {
        let mut latencies = Vec::new();
        for name in names {
            let began = Instant::now();
            contender.way.h1(name).await?.small().await?;
            latencies.push(began.elapsed());
        }
        Ok(latencies)
    })
    .await
}

/// One request of bulk.
pub async fn once(contender: &Contender, request: Request) -> anyhow::Result<Load> {
    let mut session = contender.way.h1(contender.way.host).await?;
    measured(contender, async {
        let began = Instant::now();
        request.send(&mut session).await?;
        Ok(vec![began.elapsed()])
    })
    .await
}

/// Delays of the events of one stream, from the origin's clock to ours.
pub async fn events(contender: &Contender) -> anyhow::Result<Load> {
    let mut session = contender.way.h1(contender.way.host).await?;
    measured(contender, async {
        let mut content = session.send("GET", "/events", Content::empty()).await?.into_body();
        let mut delays = Vec::new();
        let mut text = String::new();
        while let Some(frame) = content.frame().await {
            let arrived = clock();
            text.push_str(&String::from_utf8_lossy(frame?.data_ref().map_or(&[][..], |data| data)));
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                let sent = event.trim().strip_prefix("data:").unwrap_or_default().trim().parse()?;
                delays.push(Duration::from_nanos(arrived.saturating_sub(sent)));
            }
        }
        anyhow::ensure!(delays.len() == crate::origin::EVENTS, "{} events came", delays.len());
        Ok(delays)
    })
    .await
}

/// Nanoseconds, the same on both ends of a machine.
pub fn clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default()
}

/// Hands out requests until the amount is used up.
#[derive(Clone)]
struct Turns {
    end: Instant,
    left: Arc<AtomicUsize>,
}

impl Turns {
    fn new(amount: Amount) -> Self {
        Self { end: Instant::now() + amount.time, left: Arc::new(AtomicUsize::new(amount.requests)) }
    }

    fn next(&self) -> bool {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok() && Instant::now() < self.end
    }
}

async fn measured(
    contender: &Contender,
    load: impl Future<Output = anyhow::Result<Vec<Duration>>>,
) -> anyhow::Result<Load> {
    let before = (contender.cpu()?, contender.inspector_cpu()?);
    let began = Instant::now();
    let mut latencies = load.await?;
    let wall = began.elapsed();
    let spent = |after: Option<Duration>, before: Option<Duration>| {
        after.zip(before).map(|(after, before)| after.saturating_sub(before))
    };
    let cpu = spent(contender.cpu()?, before.0);
    let inspector_cpu = spent(contender.inspector_cpu()?, before.1);
    latencies.sort_unstable();
    Ok(Load { requests: latencies.len(), wall, cpu, inspector_cpu, latencies })
}

async fn joined(mut tasks: JoinSet<anyhow::Result<Vec<Duration>>>) -> anyhow::Result<Vec<Duration>> {
    let mut all = Vec::new();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies??);
    }
    Ok(all)
}

//! Load on one contender: so many requests, timed one by one, with the processor time that the contender spent on them.

use std::time::{Duration, Instant, SystemTime};

use http_body_util::BodyExt;
use tokio::task::JoinSet;

use crate::{
    HOST,
    client::{Content, Session},
    contender::Contender,
};

/// What a load came to.
pub struct Load {
    pub requests: usize,
    pub wall: Duration,
    /// Of the proxy's process.
    pub cpu: Option<Duration>,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Load {
    pub fn cpu_per_request(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.requests as f64)
    }

    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// In milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Small GETs on connections that stay open.
pub async fn keep_alive(contender: &Contender, connections: usize, requests: usize) -> anyhow::Result<Load> {
    let mut sessions = Vec::new();
    for _ in 0..connections {
        let mut session = contender.way.h1(HOST).await?;
        session.small().await?;
        sessions.push(session);
    }
    on_sessions(contender, sessions, requests).await
}

/// Small GETs on streams of one h2 connection.
pub async fn streams(contender: &Contender, streams: usize, requests: usize) -> anyhow::Result<Load> {
    let mut session = contender.way.h2(HOST).await?;
    session.small().await?;
    let sessions = (0..streams).filter_map(|_| session.stream()).collect();
    on_sessions(contender, sessions, requests).await
}

async fn on_sessions(contender: &Contender, sessions: Vec<Session>, requests: usize) -> anyhow::Result<Load> {
    let each = requests / sessions.len();
    measured(contender, async move {
        let mut tasks = JoinSet::new();
        for mut session in sessions {
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(each);
                for _ in 0..each {
                    let began = Instant::now();
                    session.small().await?;
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
pub async fn new_connections(contender: &Contender, clients: usize, requests: usize) -> anyhow::Result<Load> {
    contender.way.h1(HOST).await?.small().await?;
    measured(contender, async {
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let way = contender.way.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                for _ in 0..requests / clients {
                    let began = Instant::now();
                    way.h1(HOST).await?.small().await?;
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

/// One answer of so many bytes.
pub async fn download(contender: &Contender, length: u64) -> anyhow::Result<Load> {
    let mut session = contender.way.h1(HOST).await?;
    measured(contender, async {
        let began = Instant::now();
        let mut content = session.send("GET", &format!("/bytes/{length}"), Content::empty()).await?.into_body();
        let mut received = 0;
        while let Some(frame) = content.frame().await {
            received += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        anyhow::ensure!(received == length, "{received} bytes came of {length}");
        Ok(vec![began.elapsed()])
    })
    .await
}

/// One request of so many bytes.
pub async fn upload(contender: &Contender, length: u64) -> anyhow::Result<Load> {
    let mut session = contender.way.h1(HOST).await?;
    measured(contender, async {
        let began = Instant::now();
        session.send("POST", "/sink", Content::of(length)).await?.into_body().collect().await?;
        Ok(vec![began.elapsed()])
    })
    .await
}

/// Delays of the events of one stream, from the origin's clock to ours.
pub async fn events(contender: &Contender) -> anyhow::Result<Load> {
    let mut session = contender.way.h1(HOST).await?;
    measured(contender, async {
        let mut content = session.send("GET", "/events", Content::empty()).await?.into_body();
        let mut delays = Vec::new();
        while let Some(frame) = content.frame().await {
            let arrived = clock();
            let frame = frame?;
            let text = String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data));
            for sent in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
                delays.push(Duration::from_nanos(arrived.saturating_sub(sent.parse()?)));
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

async fn measured(
    contender: &Contender,
    load: impl Future<Output = anyhow::Result<Vec<Duration>>>,
) -> anyhow::Result<Load> {
    let before = contender.cpu()?;
    let began = Instant::now();
    let mut latencies = load.await?;
    let wall = began.elapsed();
    let cpu = contender.cpu()?.zip(before).map(|(after, before)| after.saturating_sub(before));
    latencies.sort_unstable();
    Ok(Load { requests: latencies.len(), wall, cpu, latencies })
}

async fn joined(mut tasks: JoinSet<anyhow::Result<Vec<Duration>>>) -> anyhow::Result<Vec<Duration>> {
    let mut all = Vec::new();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies??);
    }
    Ok(all)
}

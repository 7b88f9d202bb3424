//! The desk between a sidecar and a proxy that the test plays itself, and a queue and an audit on a disk.

use std::path::Path;
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use shared::yaml::Diagnostics;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::plan::{AgentCommand, AgentEnv, AgentProgram, Egress, Images, Paths, Session, Supervise};
use crate::spec::{Control, Dlp, Workdir};

/// A desk that serves.
struct Served {
    home: TempDir,
    sidecar: WriteHalf<DuplexStream>,
    answers: Lines<BufReader<ReadHalf<DuplexStream>>>,
    tables: mpsc::UnboundedReceiver<Value>,
    serving: JoinHandle<io::Result<()>>,
}

/// What the proxy makes of a new table.
#[derive(Clone, Copy)]
enum Proxy {
    Takes,
    Refuses,
}

impl Served {
    fn start(proxy: Proxy) -> Self {
        let home = TempDir::new().unwrap();
        for folder in ["queue", "state"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        let plan = plan(home.path());
        let (ours, theirs) = duplex(64 << 10);
        let (put, tables) = mpsc::unbounded_channel();
        let (said, answers) = split(theirs);
        let enforce = async move |table: &Routes| {
            put.send(table.to_json()).unwrap();
            match proxy {
                Proxy::Takes => Ok(()),
                Proxy::Refuses => Err(io::Error::other("a test's proxy")),
            }
        };
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            runtime.block_on(Desk::new(&plan).serve(said, answers, enforce))
        });
        let (answers, sidecar) = split(ours);
        Self { home, sidecar, answers: BufReader::new(answers).lines(), tables, serving }
    }

    async fn say(&mut self, line: &str) {
        self.sidecar.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn propose(&mut self, number: u32, host: &str) {
        self.say(&json!({"number": number, "proposal": {"host": host, "reason": "to test"}}).to_string()).await;
    }

    async fn answered(&mut self) -> Value {
        let line = timeout(Duration::from_secs(60), self.answers.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn queue(&self) -> Queue {
        Queue::new(&self.home.path().join("queue"))
    }

    /// Decides as soon as it waits.
    async fn decide(&self, number: u32, verdict: Verdict) {
        let queue = self.queue();
        let waiting = async {
            while queue.is_settled(number) {
                tokio::task::yield_now().await
            }
        };
        timeout(Duration::from_secs(60), waiting).await.unwrap();
        queue.decide(number, &Decision::new(verdict, Some("says the test".into()), DECIDED.into())).unwrap();
    }

    fn record(&self, number: u32) -> Option<Settled> {
        Audit::new(&self.home.path().join("audit")).read(DECIDED, "a-00000", number).unwrap()
    }

    fn granted(&self) -> Vec<Proposal> {
        grants::load(&self.home.path().join("state")).unwrap()
    }
}

#[tokio::test]
async fn an_approval_is_recorded_put_in_force_and_kept() {
    let mut served = Served::start(Proxy::Takes);
    served.propose(1, "new.example").await;
    served.decide(1, Verdict::Approve).await;
    assert_eq!(served.answered().await, json!({"number": 1, "outcome": "approved", "words": "says the test"}));
    let table = served.tables.recv().await.unwrap();
    assert_eq!(table["routes"][0]["host"], "api.example.com");
    assert_eq!(
        table["routes"][1],
        json!({
            "host": "new.example", "ports": [443],
            "matches": [{"methods": ["GET", "HEAD"], "paths": [{"type": "prefix", "value": "/"}]}],
        })
    );
    assert_eq!(served.record(1).unwrap().outcome, Outcome::Approved);
    assert_eq!(served.granted()[0].host(), "new.example");
    assert!(served.queue().is_settled(1));
    // The next one stands beside it, and the same again is no question.
    served.propose(2, "other.example").await;
    served.decide(2, Verdict::Approve).await;
    served.answered().await;
    assert_eq!(served.tables.recv().await.unwrap()["routes"].as_array().unwrap().len(), 3);
    served.propose(3, "new.example").await;
    assert_eq!(served.answered().await["outcome"], "approved");
    assert!(served.tables.try_recv().is_err());
    drop((served.sidecar, served.answers));
    served.serving.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_rejection_is_recorded_and_changes_nothing() {
    let mut served = Served::start(Proxy::Takes);
    served.propose(1, "new.example").await;
    served.decide(1, Verdict::Reject).await;
    assert_eq!(served.answered().await["outcome"], "rejected");
    assert_eq!(served.record(1).unwrap().outcome, Outcome::Rejected);
    assert!(served.tables.try_recv().is_err() && served.granted().is_empty());
}

#[tokio::test]
async fn what_the_proxy_does_not_take_is_not_granted_and_the_record_says_so() {
    let mut served = Served::start(Proxy::Refuses);
    served.propose(1, "new.example").await;
    served.decide(1, Verdict::Approve).await;
    assert_eq!(served.answered().await["outcome"], "refused");
    let record = served.record(1).unwrap();
    assert_eq!(record.outcome, Outcome::Refused);
    assert!(record.words.unwrap().contains("a test's proxy"));
    assert!(served.granted().is_empty());
}

#[tokio::test]
async fn nothing_is_in_force_that_cannot_be_recorded() {
    let mut served = Served::start(Proxy::Takes);
    std::fs::write(served.home.path().join("audit"), "in the way").unwrap();
    served.propose(1, "new.example").await;
    served.decide(1, Verdict::Approve).await;
    assert_eq!(served.answered().await["outcome"], "refused");
    assert!(served.tables.try_recv().is_err() && served.granted().is_empty());
}

#[tokio::test]
async fn a_host_of_the_manifest_is_refused_without_a_question() {
    let mut served = Served::start(Proxy::Takes);
    served.propose(1, "api.example.com").await;
    let answered = served.answered().await;
    assert_eq!(answered["outcome"], "refused");
    assert!(answered["words"].as_str().unwrap().contains("route `api.example.com`"), "{answered}");
    assert!(served.queue().waiting().unwrap().is_empty());
}

#[tokio::test]
async fn a_sidecar_that_was_taken_over_changes_no_proposal_and_floods_nobody() {
    let mut served = Served::start(Proxy::Takes);
    served.propose(1, "seen.example").await;
    // Under the number that the operator is looking at; then what is no proposal at all, and a line without end.
    served.propose(1, "swapped.example").await;
    served.propose(0, "zero.example").await;
    for line in [
        r#"{"number": 2, "proposal": {"host": "*.example", "reason": "x"}}"#,
        r#"{"number": 2, "proposal": {"host": "a.example", "reason": "x", "auth": {}}}"#,
        r#"{"number": 2, "outcome": "approved"}"#,
        &"x".repeat(20 << 10),
        "",
    ] {
        served.say(line).await;
    }
    for number in 2..=8 {
        served.propose(number, &format!("a{number}.example")).await;
    }
    for number in [9, 65] {
        served.propose(number, "more.example").await;
        assert_eq!(served.answered().await["outcome"], "refused");
    }
    let waiting = served.queue().waiting().unwrap();
    assert_eq!(waiting.len(), 8);
    assert_eq!(waiting[0].proposal.host(), "seen.example");
    served.decide(1, Verdict::Approve).await;
    assert_eq!(served.answered().await["number"], 1);
    assert_eq!(served.tables.recv().await.unwrap()["routes"][1]["host"], "seen.example");
}

#[tokio::test]
async fn what_was_approved_is_what_was_taken_in_not_what_the_file_says() {
    let mut served = Served::start(Proxy::Takes);
    served.propose(1, "seen.example").await;
    let queue = served.queue();
    while queue.is_settled(1) {
        tokio::task::yield_now().await;
    }
    let other = serde_json::from_str(r#"{"host": "other.example", "reason": "x"}"#).unwrap();
    queue.put(&Waiting::new(1, now(), other)).unwrap();
    served.decide(1, Verdict::Approve).await;
    served.answered().await;
    assert_eq!(served.tables.recv().await.unwrap()["routes"][1]["host"], "seen.example");
}

fn plan(home: &Path) -> Plan {
    let manifest = "routes: [{host: api.example.com, auth: {scheme: Bearer, token_env: T}}]";
    let routes = shared::routes::decode(manifest, shared::routes::Dialect::Proxy, &mut Diagnostics::default()).unwrap();
    let program = AgentProgram::ClaudeCode { control: Control::Terminal, session: Session::New };
    Plan {
        identity: "a-00000".parse().unwrap(),
        agent: "a".parse().unwrap(),
        bottle: "b".parse().unwrap(),
        paths: Paths {
            home: home.to_owned(),
            state: home.join("state"),
            queue: home.join("queue"),
            audit: home.join("audit"),
        },
        egress: Egress {
            routes,
            tokens: vec![],
            placeholders: vec![],
            allow_cidr: vec![],
            upstream_ca: None,
            scan_rules: None,
        },
        env: AgentEnv::default(),
        prompt: String::new(),
        skills: vec![],
        git: vec![],
        supervise: Supervise::On,
        granted: vec![],
        dlp: Dlp::Builtin,
        images: Images::default(),
        command: AgentCommand { program, arguments: vec![] },
        workdir: Workdir::Empty,
        transcript: None,
    }
}

const DECIDED: &str = "2026-01-01T00:00:00Z";

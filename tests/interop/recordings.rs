//! Replays what was recorded from pipelock v2.3.0: same bytes in, same bytes at the inner face, same bytes back.

mod inner_face;

use std::net::SocketAddr;

use harness::h1;
use harness::pipelock::{Answers, Destination, Real, StandIn};
use harness::within;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use inner_face::InnerFace;

const RECORDINGS: &str = include_str!("recordings/as-inspector.json");

/// The inner face's authority in the recordings.
const RECORDED_AUTHORITY: &str = "egress-proxy:9098";

/// `request_bytes` counts the port that was there before it was written 9098: two digits more.
const COUNTED_TOO_MANY: usize = 2;

#[tokio::test]
async fn the_stand_in_behaves_as_recorded_in_mode_request() {
    let face = InnerFace::start().await;
    let pipelock = StandIn::start(recorded_destination(face.address()), Answers::Unscanned).await;
    replay("request", pipelock.address(), RECORDED_AUTHORITY, &face).await;
}

#[tokio::test]
async fn the_stand_in_behaves_as_recorded_in_mode_exchange() {
    let face = InnerFace::start().await;
    let pipelock = StandIn::start(recorded_destination(face.address()), Answers::Scanned).await;
    replay("exchange", pipelock.address(), RECORDED_AUTHORITY, &face).await;
}

#[tokio::test]
async fn the_stand_in_behaves_as_recorded_when_the_inner_face_is_down() {
    let nobody = InnerFace::start().await.stopped().await;
    let pipelock = StandIn::start(recorded_destination(nobody), Answers::Unscanned).await;
    let case = cases().into_iter().find(|case| case["name"] == "inner-face-down").expect("it was recorded");
    let answer = ask(&case, pipelock.address(), RECORDED_AUTHORITY).await;
    compare(&case, &answer);
}

/// Nothing to do where there is no real pipelock: `make test` says in its last lines whether there was.
#[tokio::test]
async fn the_real_pipelock_still_behaves_as_recorded() {
    let Some(program) = std::env::var_os("PIPELOCK_BIN") else { return };
    for (mode, answers) in [("request", Answers::Unscanned), ("exchange", Answers::Scanned)] {
        let face = InnerFace::start().await;
        let pipelock = Real::start(&program, answers).await;
        replay(mode, pipelock.address(), &face.address().to_string(), &face).await;
    }
}

async fn replay(mode: &str, pipelock: SocketAddr, authority: &str, face: &InnerFace) {
    let mut replayed = 0;
    for case in cases().iter().filter(|case| case["mode"] == mode && case["name"] != "inner-face-down") {
        let answer = ask(case, pipelock, authority).await;
        compare(case, &answer);
        let saw: Vec<String> = face.take().iter().map(|head| head.replace(authority, RECORDED_AUTHORITY)).collect();
        assert_eq!(saw, recorded_at_inner_face(case), "{}: at the inner face", case["name"]);
        replayed += 1;
    }
    assert!(replayed > 7, "only {replayed} cases in mode `{mode}`");
}

async fn ask(case: &Value, pipelock: SocketAddr, authority: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(pipelock).await.expect("pipelock accepts");
    h1::write(&mut stream, &request(case, authority)).await.expect("pipelock reads");
    let mut answer = vec![0; recorded_answer_bytes(case)];
    within(&format!("the answer to {}", case["name"]), stream.read_exact(&mut answer)).await.expect("a whole answer");
    answer
}

/// The recorded bytes, whole again where they had been cut, for this inner face.
fn request(case: &Value, authority: &str) -> Vec<u8> {
    const REST: &str = " HTTP/1.1\r\nHost: egress-proxy:9098\r\nX-Exchange: 97ece5bd027ce2c8a242940f71ae4ffb\r\n\
                        X-Pipelock-Agent: bottle-a\r\n\r\n";
    let recorded = text(&case["request"]);
    let whole = match case["request_bytes"].as_u64().map(|bytes| bytes as usize - COUNTED_TOO_MANY) {
        // Only a method and a URL were noted of this one.
        None if authority == RECORDED_AUTHORITY => {
            format!("{recorded}{}", REST.replace(RECORDED_AUTHORITY, "127.0.0.1:9098"))
        }
        None => format!(
            "{}{}",
            recorded.replace("127.0.0.1", "127.0.0.2"),
            REST.replace(RECORDED_AUTHORITY, "127.0.0.2:9098")
        ),
        Some(bytes) if bytes > recorded.chars().count() => {
            format!("{recorded}{}{REST}", "a".repeat(bytes - recorded.len() - REST.len()))
        }
        Some(_) => recorded.to_owned(),
    };
    h1::latin1(&whole.replace(RECORDED_AUTHORITY, authority))
}

fn compare(case: &Value, answer: &[u8]) {
    let recorded = comparable(text(&case["response"]));
    let answered = comparable(&h1::from_latin1(answer));
    let kept = recorded.len().min(answered.len());
    let differs = recorded.bytes().zip(answered.bytes()).position(|(recorded, answered)| recorded != answered);
    assert!(
        differs.is_none() && kept == recorded.len(),
        "{}: the answer differs at {differs:?}: {}",
        case["name"],
        &answered[..kept.min(300)]
    );
}

/// Without what differs from run to run: the date, and what the address of this run's inner face makes of a text.
fn comparable(answer: &str) -> String {
    let lines = answer.split("\r\n").map(|line| if line.starts_with("Date: ") { "Date: now" } else { line });
    let text = lines.collect::<Vec<_>>().join("\r\n").replace("127.0.0.2", "127.0.0.1");
    match text.split_once("URL length ") {
        Some((before, after)) => {
            format!("{before}URL length …{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => text,
    }
}

fn recorded_at_inner_face(case: &Value) -> Vec<String> {
    let seen = case["inner_face_saw"].as_array().expect("a list");
    seen.iter().map(|seen| inner_face::kept(text(&seen["head"]), text(&seen["content"]))).collect()
}

fn recorded_answer_bytes(case: &Value) -> usize {
    case["response_bytes"].as_u64().map_or(text(&case["response"]).len(), |bytes| bytes as usize)
}

fn cases() -> Vec<Value> {
    let Value::Array(cases) = serde_json::from_str(RECORDINGS).expect("JSON") else { panic!("a list of cases") };
    assert_eq!(cases.len(), 61);
    cases
}

fn recorded_destination(address: SocketAddr) -> Destination {
    Destination { host: "egress-proxy".to_owned(), address: Some(address) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

//! What is done with records afterwards: a table is proposed from them, and another one tried on them.

use std::fs;
use std::sync::mpsc::Receiver;

use egress_proxy::watch::{Heard, Source};
use harness::client::post;
use harness::programs::{Program, Ran};
use harness::proxy::{Setup, routes};
use harness::within;
use serde_json::Value;
use shared::record::Record;

use crate::{AWS_KEY, Stage};

/// The exit code of a verb that did its work and says that something changes.
const CHANGED: i32 = 3;

#[tokio::test]
async fn the_table_that_is_learned_grants_what_was_seen_and_nothing_else() {
    let (records, files) = recorded().await;
    let learned = verb(&["learn", &files.path("log")]).await;
    let table = learned.output();
    assert!(table.contains("api.localhost") && !table.contains(AWS_KEY) && !table.contains("/denied"), "{table}");
    files.write("learned.yaml", table);
    verb(&["routes", "validate", "--routes", &files.path("learned.yaml")]).await.output();
    let replayed = verb(&["replay", &files.path("log"), "--routes", &files.path("learned.yaml")]).await;
    assert!(replayed.output().contains("as before, 0 changed"), "{}\n{records}", replayed.stdout);
    for (method, path, code) in
        [("GET", "/echo/1", 0), ("DELETE", "/echo/1", 3), ("GET", "/echo", 3), ("GET", "/echo/2", 3)]
    {
        let url = format!("https://api.localhost:{}{path}", port(&records));
        let checked = verb(&["check", "--routes", &files.path("learned.yaml"), method, &url]).await;
        assert_eq!(checked.code, Some(code), "{method} {path}: {}\n{table}", checked.stdout);
    }
    let wider = verb(&["learn", "--refused", &files.path("log")]).await;
    assert!(wider.output().contains("/denied"), "{}", wider.stdout);
}

#[tokio::test]
async fn another_table_is_tried_on_what_was_recorded() {
    let (records, files) = recorded().await;
    let port = port(&records);
    files.write(
        "other.yaml",
        &format!("routes:\n  - {{host: api.localhost, ports: [{port}], path_allowlist: [/denied]}}\n"),
    );
    let args = ["replay", &files.path("log"), "--routes", &files.path("other.yaml")];
    let replayed = verb(&args).await;
    assert_eq!(replayed.code, Some(CHANGED), "{}", replayed.stderr);
    for line in [
        format!("refused now: GET https://api.localhost:{port}/echo/1 (2 times): no rule of route"),
        format!("refused now: POST https://api.localhost:{port}/echo/x: no rule of route"),
        format!("allowed now: GET https://api.localhost:{port}/denied: route `api.localhost`"),
        "0 as before, 4 changed, 1 that no table decides about".to_owned(),
    ] {
        assert!(replayed.stdout.contains(&line), "no `{line}` in {}", replayed.stdout);
    }
    let replayed = verb(&[&args[..], &["--json"]].concat()).await;
    let said: Value = serde_json::from_str(&replayed.stdout).expect("JSON");
    assert_eq!((&said["refused"][0]["count"], &said["allowed"][0]["path"]), (&2.into(), &"/denied".into()), "{said}");
}

#[tokio::test]
async fn what_is_no_record_is_named_with_its_line() {
    let files = Setup::bare();
    files.write("log", "\nno record\n");
    let ran = verb(&["learn", &files.path("log")]).await;
    assert_eq!(ran.code, Some(125));
    assert!(ran.stderr.contains("line 2 of") && ran.stderr.contains("no record"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_archive_is_replayed_with_its_fields() {
    let files = Setup::bare();
    let entry = |accept: &str| {
        format!(
            r#"{{"request": {{"method": "GET", "url": "https://a.example/x?y=1", "headers": [{{"name": "Accept", "value": "{accept}"}}]}}}}"#
        )
    };
    files.write("a.har", &format!("{{\"log\": {{\"entries\": [{}, {}]}}}}", entry("text/html"), entry("text/plain")));
    let rule = "matches: [{headers: [{name: accept, type: exact, value: text/html}]}]";
    files.write("routes.yaml", &routes([&format!("host: a.example, {rule}")]));
    let replayed = verb(&["replay", &files.path("a.har"), "--routes", &files.path("routes.yaml")]).await;
    assert_eq!(replayed.code, Some(CHANGED), "{}", replayed.stderr);
    assert!(replayed.stdout.contains("1 as before, 1 changed"), "{}", replayed.stdout);
}

#[tokio::test]
async fn one_line_for_people_tells_of_an_exchange_and_another_why_it_was_refused() {
    let stage = Stage::with("path_allowlist: [/echo]", |setup| setup.arg("--pretty")).await;
    stage.client().get(&stage.url("/echo?question")).await.says(200, &[]);
    stage.client().get(&stage.url("/denied")).await.says(403, &[]);
    let (authority, ended) = (stage.origin.authority(), stage.proxy.stop().await);
    let lines: Vec<&str> = ended.stdout.lines().filter(|line| !line.contains("CONNECT")).collect();
    let [granted, refused, why] = &lines[..] else { panic!("{}", ended.stdout) };
    assert!(granted.contains(&format!("{authority}/echo ")) && granted.contains("200"), "{granted}");
    assert!(refused.contains(&format!("{authority}/denied")) && refused.contains("403"), "{refused}");
    assert!(why.contains("no rule of route") && !ended.stdout.contains("question"), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "colour is for terminals: {}", ended.stdout);
}

#[tokio::test]
async fn the_live_view_hears_of_an_exchange_and_of_the_end_of_the_proxy() {
    let stage = Stage::with("", |setup| setup.arg("--admin").arg("127.0.0.1:0")).await;
    let heard = Source::Admin(stage.proxy.admin()).start().expect("a thread");
    let (heard, connected) = next(heard).await;
    assert!(matches!(connected, Heard::Standing(text) if text.is_empty()));
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    let (heard, exchange) = next(heard).await;
    let Heard::Record(record) = exchange else { panic!("{exchange:?}") };
    let Record::Exchange(record) = *record else { panic!("{record:?}") };
    assert_eq!((record.path.as_deref(), record.status), (Some("/echo"), Some(200)));
    stage.proxy.stop().await;
    let mut heard = heard;
    loop {
        let (rest, told) = next(heard).await;
        heard = rest;
        if matches!(&told, Heard::Standing(text) if text.starts_with("not connected")) {
            return;
        }
    }
}

#[tokio::test]
async fn the_live_view_follows_a_file_past_its_rotation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log");
    let line = |authority: &str| {
        format!(
            "{{\"kind\":\"tunnel\",\"schema\":1,\"id\":\"i\",\"time\":\"t\",\"authority\":\"{authority}\",\"outcome\":\"completed\",\"exchanges\":0,\"total_ms\":1.0}}\n"
        )
    };
    fs::write(&path, line("first:443")).expect("a log");
    let mut heard = Source::File(path.clone()).start().expect("a thread");
    for authority in ["first:443", "second:443"] {
        let (rest, told) = next(heard).await;
        heard = rest;
        assert!(
            matches!(&told, Heard::Record(record) if matches!(&**record, Record::Tunnel(tunnel) if tunnel.authority == authority))
        );
        fs::write(folder.path().join("new"), line("second:443")).expect("a new log");
        fs::rename(folder.path().join("new"), &path).expect("a rotation");
    }
}

/// The next that is heard.
async fn next(heard: Receiver<Heard>) -> (Receiver<Heard>, Heard) {
    let waiting = tokio::task::spawn_blocking(move || {
        let next = heard.recv().expect("the source goes on");
        (heard, next)
    });
    within("something to hear", waiting).await.expect("no panic")
}

/// Records of two granted requests to one path, one to another, a refused one and one with a secret.
async fn recorded() -> (String, Setup) {
    let stage = Stage::granting("path_allowlist: [/echo]").await;
    for _ in 0..2 {
        stage.client().get(&stage.url("/echo/1?question")).await.says(200, &[]);
    }
    stage.client().send(post(&stage.url("/echo/x"), "content")).await.says(200, &[]);
    stage.client().get(&stage.url("/denied")).await.says(403, &[]);
    stage.client().get(&stage.url(&format!("/echo/{AWS_KEY}"))).await.says(403, &[]);
    let records = stage.proxy.stop().await.stdout;
    let files = Setup::bare();
    files.write("log", &records);
    (records, files)
}

fn port(records: &str) -> u64 {
    let record = records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    record.filter_map(|record| record["port"].as_u64()).next().expect("an exchange")
}

async fn verb(args: &[&str]) -> Ran {
    args.iter().fold(Program::tested("egress-proxy-under-test"), |program, arg| program.arg(*arg)).run().await
}

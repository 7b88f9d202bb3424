//! `--scan-answers record`: secrets that come in are recorded, and pass.

use harness::client::{get, post};
use serde_json::json;

use crate::{AWS_KEY, Stage, says};

async fn stage(rest: &str) -> Stage {
    Stage::with(rest, |setup| setup.arg("--scan").arg("record").arg("--scan-answers").arg("record")).await
}

#[tokio::test]
async fn a_secret_in_an_answer_is_recorded_and_passes() {
    let mut stage = stage("").await;
    let content = json!({"token": AWS_KEY}).to_string();
    stage.client().send(post(&stage.url("/echo"), content)).await.says(200, &[AWS_KEY]);
    let record = stage.proxy.exchange().await;
    says(&record, json!({"outcome": "completed"}));
    assert_eq!(record["answer_findings"][0]["rule"], "aws-access-key", "{record}");
    assert_eq!(record["answer_findings"][0]["chain"], "content", "{record}");
    assert!(!record.to_string().contains(AWS_KEY), "{record}");
}

#[tokio::test]
async fn a_clean_answer_is_recorded_without_findings() {
    let mut stage = stage("").await;
    stage.client().send(get(&stage.url("/echo"))).await.says(200, &[]);
    let record = stage.proxy.exchange().await;
    assert_eq!(record["answer_findings"], json!(null), "{record}");
}

#[tokio::test]
async fn answers_are_not_scanned_unless_it_is_asked_for_nor_where_a_route_turns_the_scan_off() {
    let asked = stage("scan: off").await;
    let mut unasked = Stage::with("", |setup| setup.arg("--scan").arg("record")).await;
    let mut asked = asked;
    for stage in [&mut unasked, &mut asked] {
        stage.client().send(post(&stage.url("/echo"), AWS_KEY)).await.says(200, &[AWS_KEY]);
        let record = stage.proxy.exchange().await;
        assert_eq!(record["answer_findings"], json!(null), "{record}");
    }
}

#[tokio::test]
async fn a_long_answer_passes_whole_whatever_is_found_in_it() {
    let mut stage = stage("").await;
    let content = format!("{}{AWS_KEY}{}", "all work and no play ".repeat(4000), " makes a dull boy".repeat(4000));
    let answer = stage.client().send(post(&stage.url("/echo"), content.clone())).await;
    assert!(answer.text().contains(&content), "an answer of {} bytes", answer.text().len());
    let record = stage.proxy.exchange().await;
    assert_eq!(record["answer_findings"].as_array().map(Vec::len), Some(1), "{record}");
}

#[tokio::test]
async fn a_coded_answer_is_decoded_beside_the_stream() {
    let mut stage = stage("").await;
    let answer = stage.client().get(&stage.url(&format!("/gzip?text={AWS_KEY}"))).await;
    assert_eq!(answer.field("content-encoding"), "gzip");
    let record = stage.proxy.exchange().await;
    assert_eq!(record["answer_findings"][0]["chain"], "content > gzip", "{record}");
}

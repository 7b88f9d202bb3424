//! git push over HTTPS is refused on every route, however it is spelled.

use harness::client::{get, post, with};
use serde_json::json;

use crate::Stage;

#[tokio::test]
async fn asking_for_the_refs_of_a_push_is_refused() {
    for query in ["service=git-receive-pack", "x=1&service=git%2Dreceive-pack", "service=git%2dreceive%2dpack&y"] {
        let mut stage = Stage::granting("").await;
        let answer = stage.client().get(&stage.url(&format!("/acme/infra.git/info/refs?{query}"))).await;
        answer.says(403, &["git-gate"]);
        stage.was_refused(json!({"outcome": "denied", "by": "policy", "error": "git_push"})).await;
    }
}

#[tokio::test]
async fn sending_a_pack_is_refused() {
    for path in ["/acme/infra.git/git-receive-pack", "/acme/infra.git/git%2Dreceive%2dpack", "/x/git-receive-pack?y=1"]
    {
        let mut stage = Stage::granting("").await;
        stage.client().send(post(&stage.url(path), "0000")).await.says(403, &["git-gate"]);
        stage.was_refused(json!({"error": "git_push"})).await;
    }
}

#[tokio::test]
async fn the_content_type_of_a_push_is_refused_on_any_path() {
    let mut stage = Stage::granting("").await;
    let request = with(post(&stage.url("/other"), "0000"), "content-type", "application/x-git-receive-pack-request");
    stage.client().send(request).await.says(403, &["git-gate"]);
    stage.was_refused(json!({"error": "git_push"})).await;
}

#[tokio::test]
async fn fetching_is_allowed() {
    let stage = Stage::granting("").await;
    let request = get(&stage.url("/acme/infra.git/info/refs?service=git-upload-pack"));
    stage.client().send(request).await.says(200, &[]);
}

//! Where the images come from: the proxy's from the static binary beside `bottle`, and from no other.

use std::fs;

use tempfile::TempDir;

use crate::bottle::{self, Setup};
use crate::engine::{self, docker, inspect};

#[tokio::test]
async fn a_tag_is_a_hash_so_that_the_second_start_builds_nothing() {
    let first = Setup::closed().start().await;
    let image = inspect(&first.container("egress-proxy")).await["Config"]["Image"].clone();
    assert!(image.as_str().is_some_and(|name| name.contains("claude-bottle-egress-proxy:")), "{image}");
    assert!(first.exit(0).await.status.success());
    let second = Setup::closed().start().await;
    assert_eq!(inspect(&second.container("egress-proxy")).await["Config"]["Image"], image);
    let ended = second.exit(0).await;
    assert!(!ended.stderr.contains("building"), "{}", ended.stderr);
}

#[tokio::test]
async fn the_proxys_image_holds_one_program_and_no_shell() {
    let bottle = Setup::closed().start().await;
    let container = bottle.container("egress-proxy");
    let found = inspect(&container).await;
    let layers = inspect(found["Image"].as_str().unwrap()).await["RootFS"]["Layers"].as_array().unwrap().len();
    assert_eq!(layers, 1);
    assert_eq!(
        docker(&["inspect", "--format", "{{json .Config.Entrypoint}}", &container]).await,
        "[\"/egress-proxy\"]"
    );
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn a_proxy_that_is_missing_or_not_static_is_named_before_anything_is_made() {
    // A link: a copy that was just written may be busy when it is run.
    let folder = TempDir::new_in(bottle::path().parent().unwrap()).unwrap();
    let program = folder.path().join("bottle");
    fs::hard_link(bottle::path(), &program).unwrap();
    let ended = Setup::closed().program(&program).run(&[]).await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("no `egress-proxy` binary at"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("hint: `make build` puts a static `egress-proxy` beside `bottle`"),
        "{}",
        ended.stderr
    );

    fs::copy("/bin/sh", folder.path().join("egress-proxy")).unwrap();
    let ended = Setup::closed().program(&program).run(&[]).await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("is no static Linux binary"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(" is up after "), "{}", ended.stderr);
}

#[tokio::test]
async fn an_image_that_is_nowhere_is_named() {
    let ended = Setup::closed().image("claude-bottle-test-nowhere:none").run(&[]).await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot pull image `claude-bottle-test-nowhere:none`"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_proxy_that_lets_a_made_up_key_pass_is_no_start() {
    let granted = "egress_proxy: {defaults: off, routes: [{host: granted.example}]}";
    let bottle = Setup::new(granted).start().await;
    let proxy = inspect(&bottle.container("egress-proxy")).await["Config"]["Image"].clone();
    let logs = bottle.bottle(&["logs", &bottle.identity]).await.stdout;
    assert!(bottle.exit(0).await.status.success());
    let blocked =
        logs.lines().filter(|line| line.contains("\"outcome\":\"blocked\"") && line.contains("granted.example"));
    assert_eq!(blocked.count(), 1, "{logs}");

    // The same program, told not to scan.
    let dockerfile = format!(
        "FROM {}\nCOPY --from={} /egress-proxy /real\nUSER root\n\
         RUN printf '#!/bin/bash\\nexec /real \"${{@/#block/off}}\"\\n' >/egress-proxy && chmod 755 /egress-proxy\n\
         USER 65532\nENTRYPOINT [\"/egress-proxy\"]\n",
        engine::agent_image().await,
        proxy.as_str().expect("an image has a name")
    );
    let silent = "claude-bottle-test-silent:latest";
    engine::build(&dockerfile, silent).await;
    let ended =
        Setup::new(granted).variable("CLAUDE_BOTTLE_EGRESS_PROXY_IMAGE", silent).run(&["-c", "echo started"]).await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: the proxy's scan has not proved itself: "), "{}", ended.stderr);
    assert!(!ended.stdout.contains("started"));
    docker(&["image", "rm", silent]).await;
}

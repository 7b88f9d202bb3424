//! How bottles end: whatever happens, nothing is left that `cleanup` does not find.

use rustix::process::Signal;

use crate::bottle::{Setup, bottle_in, resume};
use crate::engine::{belongings, docker};

#[tokio::test]
async fn the_agents_exit_code_is_passed_on_and_nothing_is_left() {
    let bottle = Setup::closed().start().await;
    let identity = bottle.identity.clone();
    assert_eq!(belongings(&identity).await.len(), 4);
    assert_eq!(bottle.exit(42).await.status.code(), Some(42));
    assert!(belongings(&identity).await.is_empty());
}

#[tokio::test]
async fn a_signal_tears_down_and_is_told_by_the_exit_code() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let bottle = Setup::closed().start().await;
        let identity = bottle.identity.clone();
        bottle.signal(signal);
        assert_eq!(bottle.end().await.status.code(), Some(code));
        assert!(belongings(&identity).await.is_empty(), "after {signal:?}");
    }
}

#[tokio::test]
async fn what_a_killed_bottle_leaves_is_found_and_removed() {
    let bottle = Setup::closed().start().await;
    let identity = bottle.identity.clone();
    bottle.signal(Signal::KILL);
    let (_, home) = bottle.end_keeping_home().await;
    assert_eq!(belongings(&identity).await.len(), 4);
    let cleaned = bottle_in(home.path(), &["cleanup", "--yes"]).await;
    assert!(cleaned.status.success(), "{}", cleaned.stderr);
    assert!(belongings(&identity).await.is_empty());
    let again = bottle_in(home.path(), &["cleanup", "--yes"]).await;
    assert!(again.status.success(), "{}", again.stderr);
}

#[tokio::test]
async fn a_killed_bottle_that_was_kept_is_resumed_although_its_names_are_taken() {
    let bottle = Setup::closed().keep().start().await;
    let identity = bottle.identity.clone();
    bottle.signal(Signal::KILL);
    let (_, home) = bottle.end_keeping_home().await;
    assert_eq!(belongings(&identity).await.len(), 4);
    let resumed = resume(home.path(), &identity).await;
    assert!(resumed.status.success(), "{}", resumed.stderr);
    assert!(belongings(&identity).await.is_empty());
}

#[tokio::test]
async fn a_bottle_that_lives_is_listed_and_survives_a_cleanup() {
    let mut bottle = Setup::closed().start().await;
    let listed = bottle.bottle(&["list", "active", "--json"]).await;
    assert!(listed.stdout.contains(&bottle.identity), "{}{}", listed.stdout, listed.stderr);
    assert!(bottle.bottle(&["cleanup", "--yes"]).await.status.success());
    assert_eq!(bottle.sh("echo alive").await, "alive");
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn a_dying_sidecar_ends_the_bottle() {
    let bottle = Setup::closed().start().await;
    let (identity, proxy) = (bottle.identity.clone(), bottle.container("egress-proxy"));
    docker(&["kill", &proxy]).await;
    let ended = bottle.end().await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("error: `{proxy}` ended with code 137")), "{}", ended.stderr);
    assert!(belongings(&identity).await.is_empty());
}

#[tokio::test]
async fn a_removed_agent_ends_the_bottle() {
    let bottle = Setup::closed().start().await;
    let identity = bottle.identity.clone();
    docker(&["rm", "-f", &bottle.container("agent")]).await;
    assert!(!bottle.end().await.status.success());
    assert!(belongings(&identity).await.is_empty());
}

#[tokio::test]
async fn two_bottles_of_one_agent_live_side_by_side() {
    let (mut one, mut two) = tokio::join!(Setup::closed().start(), Setup::closed().start());
    assert_ne!(one.identity, two.identity);
    assert_eq!(one.sh("echo one").await, "one");
    assert_eq!(two.sh("echo two").await, "two");
    let (one, two) = tokio::join!(one.exit(1), two.exit(2));
    assert_eq!((one.status.code(), two.status.code()), (Some(1), Some(2)));
}

#[tokio::test]
async fn timings_say_of_each_step_of_a_launch_when_it_ended() {
    let granted = "egress_proxy: {defaults: off, routes: [{host: granted.example}]}";
    let ended = Setup::new(granted).timings().run(&["-c", "true"]).await;
    let steps: Vec<&str> = ended
        .stderr
        .lines()
        .filter_map(|line| line.split_once(" ms] ")?.1.split_once(": "))
        .map(|(step, _)| step)
        .collect();
    for step in ["engine", "images", "sidecars", "egress-proxy", "agent"] {
        assert!(steps.contains(&step), "{step}: {}", ended.stderr);
    }
    let quiet = Setup::closed().run(&["-c", "true"]).await;
    assert!(!quiet.stderr.contains(" ms] "), "{}", quiet.stderr);
}

#[tokio::test]
async fn a_program_that_the_image_lacks_is_an_error_that_names_it() {
    let setup = Setup::closed().frontmatter_with_command("egress_proxy: {defaults: off}", "[no-such-program]");
    let ended = setup.run(&[]).await;
    assert!(matches!(ended.status.code(), Some(125..=127)), "{:?} {}", ended.status, ended.stderr);
    assert!((ended.stderr + &ended.stdout).contains("no-such-program"));
}

#[tokio::test]
async fn without_an_engine_nothing_is_asked_and_the_fix_is_named() {
    let ended = Setup::closed().variable("DOCKER_HOST", "unix:///nowhere/docker.sock").run(&[]).await;
    let stderr = ended.stderr;
    assert_eq!(ended.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("error: no Docker engine answers at `unix:///nowhere/docker.sock`"), "{stderr}");
    assert!(stderr.contains("hint: start Docker"), "{stderr}");
}

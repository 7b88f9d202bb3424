//! `bottle` is killed, without a chance to do anything, right after each of the engine's steps of a launch, an attached agent and
//! a teardown. What it leaves is found by `cleanup` and by nothing else, and afterwards nothing is left.

use std::path::Path;
use std::process::Stdio;

use harness::within;

use super::relay::Relay;
use crate::bottle::{Setup, bottle_in};
use crate::engine::{self, docker};
use crate::git_host::GitHost;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_a_bottle_leaves_nothing_that_cleanup_does_not_find() {
    let host = GitHost::start().await;
    // Makes the images: what is counted is the same each time, or nearly.
    assert_eq!(launch(&host, usize::MAX).await.end, End::Own);
    println!(
        "| killed after | containers left | networks left | volumes left | after cleanup |\n|---|---|---|---|---|"
    );
    let mut steps = 0;
    loop {
        let Launch { end, step, left, after } = launch(&host, steps + 1).await;
        assert_eq!(after, [0; 4], "containers, networks, volumes, states after step {step} and a cleanup");
        if end == End::Own {
            break;
        }
        steps += 1;
        let [containers, networks, volumes] = left;
        let rest: usize = after.iter().sum();
        println!("| {steps:2} {step} | {containers} | {networks} | {volumes} | {rest} |");
    }
    assert!(steps > 20, "{steps}");
}

struct Launch {
    end: End,
    /// The last of the requests.
    step: String,
    left: [usize; 3],
    after: [usize; 4],
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed,
    /// It had fewer requests.
    Own,
}

/// Starts a bottle, kills it when the engine has done `last` requests, and cleans up.
async fn launch(host: &GitHost, last: usize) -> Launch {
    let relay = Relay::until(&engine::socket(), last);
    let setup = Setup::closed();
    let key = setup.file("key", &host.key);
    let setup = setup
        .frontmatter(&host.manifest(&key.display().to_string(), &host.host_key))
        .variable("DOCKER_HOST", &relay.address())
        .variable("CLAUDE_BOTTLE_GIT_GATE_IMAGE", &engine::git_host_image().await);
    let volumes = volumes().await;
    let mut command = setup.command(&["-c", "exit 0"]).await;
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a `bottle`");
    let end = tokio::select! {
        () = relay.reached() => {
            child.start_kill().expect("a child of ours");
            End::Killed
        }
        status = child.wait() => {
            assert!(status.expect("a child of ours").success());
            End::Own
        }
    };
    within("the end of `bottle`", child.wait()).await.expect("a child of ours");
    within("the engine's last answer", relay.settled()).await;

    let home = setup.home();
    let [containers, networks] = belongings(home).await;
    let left = [containers, networks, self::volumes().await - volumes];
    let cleaned = bottle_in(home, &["cleanup", "--yes"]).await;
    assert!(cleaned.status.success(), "{}", cleaned.stderr);
    let [containers, networks] = belongings(home).await;
    // Beside the lock that all bottles of a home share.
    let states = std::fs::read_dir(home.join("state")).into_iter().flatten();
    let states = states.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir())).count();
    let after = [containers, networks, self::volumes().await - volumes, states];
    Launch { end, step: relay.seen().pop().unwrap_or_default(), left, after }
}

/// How many containers and networks bear this home's label.
async fn belongings(home: &Path) -> [usize; 2] {
    let filter = format!("label=claude-bottle.home={}", home.display());
    let containers = docker(&["ps", "-aq", "--filter", &filter]).await;
    let networks = docker(&["network", "ls", "-q", "--filter", &filter]).await;
    [containers.lines().count(), networks.lines().count()]
}

async fn volumes() -> usize {
    docker(&["volume", "ls", "-q"]).await.lines().count()
}

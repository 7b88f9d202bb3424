//! What the containers of a bottle may do on their machine: next to nothing, whatever their images say.

use serde_json::{Value, json};

use crate::bottle::Setup;
use crate::engine::{docker, has_our_profile, inspect, lost_every_capability};

#[tokio::test]
async fn every_container_runs_without_rights_and_within_limits() {
    let bottle = Setup::closed().start().await;
    for role in ["agent", "egress-proxy"] {
        let found = inspect(&bottle.container(role)).await;
        let host = &found["HostConfig"];
        assert!(lost_every_capability(&found), "{role}: {found}");
        assert!(matches!(&host["CapAdd"], Value::Null) || host["CapAdd"] == json!([]), "{role}");
        assert!(has_our_profile(&found), "{role}: {found}");
        assert_eq!(host["Privileged"], json!(false), "{role}");
        assert!(host["PidsLimit"].as_i64().is_some_and(|limit| limit > 0), "{role}");
        assert!(host["Memory"].as_i64().is_some_and(|limit| limit > 0), "{role}");
        assert_eq!(found["Mounts"], json!([]), "{role}");
        assert!(matches!(&host["PortBindings"], Value::Null) || host["PortBindings"] == json!({}), "{role}");
        let user = found["Config"]["User"].as_str().unwrap_or_default();
        assert!(!matches!(user.split(':').next(), None | Some("" | "0" | "root")), "{role} runs as `{user}`");
    }
    let proxy = inspect(&bottle.container("egress-proxy")).await;
    assert_eq!(proxy["HostConfig"]["ReadonlyRootfs"], json!(true));
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn the_agent_has_no_capability_and_can_gain_none() {
    let mut bottle = Setup::closed().start().await;
    let status = bottle.sh("grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Uid)' /proc/self/status").await;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(!status.contains("Uid:\t0"), "{status}");
    assert_eq!(bottle.sh("ls /var/run/docker.sock /run/docker.sock 2>/dev/null").await, "");
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn the_agent_makes_no_namespace_and_no_socket_but_the_networks() {
    let mut bottle = Setup::closed().start().await;
    // In gVisor all of these are of its own kernel.
    let is_in_gvisor = bottle.sh("grep -c gvisor /proc/version").await == "1";
    for flags in ["-Ur", "-n", "-m", "-i", "-u"] {
        let made = bottle.sh(&format!("unshare {flags} true && echo made")).await;
        assert!(made.contains("Operation not permitted") || is_in_gvisor, "{flags}: {made}");
    }
    // Packet, the kernel's ciphers, and the machine that this one runs on.
    for family in [17, 38, 40] {
        let made = bottle.sh(&format!("perl -e 'socket(my $made, {family}, 2, 0) and print \"made\"'")).await;
        assert_eq!(made, "", "{family}");
    }
    // What has no such socket still has threads, which ask for `clone3` first, and answers from the network's own.
    assert_eq!(bottle.sh("true & wait $! && getent hosts egress-proxy >/dev/null && echo fine").await, "fine");
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn the_agent_and_nobody_else_is_in_gvisor_where_the_engine_offers_it() {
    let offers: Value = serde_json::from_str(&docker(&["info", "--format", "{{json .Runtimes}}"]).await).expect("JSON");
    // Podman lists names of runtimes, and lets no container ask for one.
    let is_podman = docker(&["version", "--format", "{{json .Server.Components}}"]).await.contains("Podman Engine");
    let is_offered = offers.get("runsc").is_some() && !is_podman;
    let is_expected = std::env::var("BOTTLE_TEST_RUNTIME").is_ok_and(|runtime| runtime == "runsc");
    assert!(is_offered || !is_expected, "{offers}");
    let mut bottle = Setup::closed().start().await;
    for (role, is_in_gvisor) in [("agent", is_offered), ("egress-proxy", false)] {
        let runtime = inspect(&bottle.container(role)).await["HostConfig"]["Runtime"].clone();
        assert_eq!(runtime == "runsc", is_in_gvisor, "{role}: {runtime}");
    }
    // As the kernel says that the agent has.
    assert_eq!(bottle.sh("grep -c gvisor /proc/version").await, u8::from(is_offered).to_string());
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn an_image_that_runs_as_root_is_refused() {
    let image = crate::engine::agent_image().await;
    let rooted = "claude-bottle-test-rooted:latest";
    crate::engine::build(&format!("FROM {image}\nUSER root\n"), rooted).await;
    let ended = Setup::closed().image(rooted).run(&["-c", "true"]).await;
    assert_eq!(ended.status.code(), Some(125));
    assert!(ended.stderr.contains("runs as root"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: end its Dockerfile with `USER"), "{}", ended.stderr);
    docker(&["image", "rm", rooted]).await;
}

//! A bottle whose agent may ask: what it asks for waits at the host, nothing changes before the operator says so, and then
//! exactly that is in force.

use harness::within;
use serde_json::{Value, json};

use crate::bottle::{Bottle, Setup, resume};
use crate::engine::{belongings, docker, has_our_profile, inspect, lost_every_capability};
use crate::terminal::Terminal;

#[tokio::test]
async fn a_host_is_reachable_once_the_operator_approved_it_and_not_before() {
    let mut bottle = supervised().start().await;
    assert!(fetch(&mut bottle).await.ends_with("403"), "no route names it yet");
    propose(&mut bottle, "new.example").await;
    let waiting = waiting(&bottle).await;
    assert_eq!(waiting["identity"], json!(bottle.identity));
    assert_eq!(waiting["proposal"]["host"], "new.example");
    assert!(fetch(&mut bottle).await.ends_with("403"), "nothing changes by asking");

    let id = format!("{}/1", bottle.identity);
    let approved = bottle.bottle(&["dashboard", "--approve", &id]).await;
    assert!(approved.status.success(), "{}", approved.stderr);
    assert!(approved.stderr.contains("is approved and in force"), "{}", approved.stderr);
    let told = bottle.sh("wait; cat /tmp/answer").await;
    assert!(told.contains("proposal 1 was approved"), "{told}");
    // Now it is looked for, and nobody has such a name.
    assert!(fetch(&mut bottle).await.ends_with("502"));
    let table: Value = serde_json::from_str(&allowlist(&mut bottle).await).expect("a table");
    assert_eq!(
        table["routes"],
        json!([{"host": "new.example", "ports": [443],
            "matches": [{"methods": ["GET", "HEAD"], "paths": [{"type": "prefix", "value": "/"}]}]}])
    );
    let again = bottle.bottle(&["dashboard", "--reject", &id]).await;
    assert_eq!(again.status.code(), Some(125));
    assert!(again.stderr.contains("no proposal 1 waits there"), "{}", again.stderr);
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn a_rejection_reaches_the_agent_with_its_reason_and_changes_nothing() {
    let mut bottle = supervised().start().await;
    let before = allowlist(&mut bottle).await;
    propose(&mut bottle, "new.example").await;
    waiting(&bottle).await;
    let id = format!("{}/1", bottle.identity);
    let rejected = bottle.bottle(&["dashboard", "--reject", &id, "--because", "use the mirror"]).await;
    assert!(rejected.status.success(), "{}", rejected.stderr);
    let told = bottle.sh("wait; cat /tmp/answer").await;
    assert!(told.contains("was rejected by the operator: use the mirror"), "{told}");
    assert_eq!(allowlist(&mut bottle).await, before);
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn the_operator_sees_and_decides_by_key() {
    let mut bottle = supervised().start().await;
    assert!(fetch(&mut bottle).await.ends_with("403"));
    propose(&mut bottle, "new.example").await;
    let mut terminal = Terminal::of(&bottle.command(), "dashboard");
    // The proposal is of this home; exchanges may be those of other bottles on the engine, which ask for the same host.
    terminal.until("GET|HEAD https://new.example/").await;
    terminal.keys("a").await;
    terminal.until("y/n").await;
    terminal.keys("y").await;
    let told = bottle.sh("wait; cat /tmp/answer").await;
    assert!(told.contains("proposal 1 was approved"), "{told}");
    terminal.keys("q").await;
    terminal.until("code=0").await;
    // The terminal is as it was.
    let rest = terminal.until("icanon").await;
    assert!(!rest.ends_with("-icanon"), "{rest}");
    let shown = bottle.bottle(&["dashboard", "--once"]).await.stdout;
    assert!(shown.contains("GET https://new.example/") && shown.contains("denied: no route names"), "{shown}");
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn what_was_approved_is_shown_and_granted_again_by_resume() {
    let mut bottle = supervised().keep().start().await;
    let identity = bottle.identity.clone();
    propose(&mut bottle, "new.example").await;
    waiting(&bottle).await;
    assert!(bottle.bottle(&["dashboard", "--approve", &format!("{identity}/1")]).await.status.success());
    let (exited, home) = bottle.exit_keeping_home(0).await;
    assert!(exited.status.success(), "{}", exited.stderr);
    let audit: Vec<_> = std::fs::read_dir(home.path().join("audit")).expect("an audit").flatten().collect();
    assert_eq!(audit.len(), 1, "the record outlives the bottle");
    assert!(!home.path().join("queue").join(&identity).exists(), "the queue does not");
    let resumed = resume(home.path(), &identity).await;
    assert!(resumed.status.success(), "{}", resumed.stderr);
    assert!(resumed.stderr.contains("GET|HEAD https://new.example/ [approved earlier]"), "{}", resumed.stderr);
}

#[tokio::test]
async fn the_sidecar_is_confined_and_reached_by_the_agent_alone() {
    let mut bottle = supervised().start().await;
    let found = inspect(&bottle.container("supervise")).await;
    let host = &found["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], json!(true));
    assert!(has_our_profile(&found), "{found}");
    assert_eq!(found["Mounts"], json!([]));
    assert_eq!(found["Config"]["User"], "65532:65532");
    assert!(lost_every_capability(&found), "{found}");
    assert!(host["PidsLimit"].as_i64().is_some_and(|limit| (1..=32).contains(&limit)));
    assert!(host["Memory"].as_i64().is_some_and(|limit| limit > 0));
    let networks: Vec<_> = found["NetworkSettings"]["Networks"].as_object().expect("networks").keys().collect();
    assert_eq!(networks, [&format!("claude-bottle-net-{}", bottle.identity)]);
    // Its one port; nothing of the queue is served there.
    let open = bottle
        .sh("for port in 80 443 9097 9098 9099 9100; do timeout 3 bash -c \"echo >/dev/tcp/supervise/$port\" \
                          2>/dev/null && echo $port; done")
        .await;
    assert_eq!(open, "9100");
    for path in ["/", "/queue", "/decisions", "/mcp/../queue"] {
        let line = format!("curl -s -o /dev/null -w '%{{http_code}}' --path-as-is http://supervise:9100{path}");
        assert!(bottle.sh(&line).await.starts_with('4'), "{path}");
    }
    assert_eq!(belongings(&bottle.identity).await.len(), 5);
    assert!(bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn a_supervise_that_dies_ends_the_bottle() {
    let bottle = supervised().start().await;
    let (identity, sidecar) = (bottle.identity.clone(), bottle.container("supervise"));
    docker(&["kill", &sidecar]).await;
    let ended = bottle.end().await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("error: `{sidecar}` ended with code 137")), "{}", ended.stderr);
    assert!(belongings(&identity).await.is_empty());
}

fn supervised() -> Setup {
    Setup::new("egress_proxy: {defaults: off}\nsupervise: true")
}

async fn propose(bottle: &mut Bottle, host: &str) {
    ask(bottle, &json!({"host": host, "reason": "to test"})).await;
}

/// Asks in the background, as the agent's MCP client would; the answer goes to `/tmp/answer`.
pub(crate) async fn ask(bottle: &mut Bottle, wish: &Value) {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "propose_route", "arguments": wish}});
    let line = format!(
        "curl -sS http://supervise:9100/mcp -H 'content-type: application/json' \
         -H 'accept: application/json, text/event-stream' -d '{call}' >/tmp/answer 2>&1 &"
    );
    bottle.sh(&line).await;
}

/// What waits for the operator, as soon as something does.
pub(crate) async fn waiting(bottle: &Bottle) -> Value {
    let looking = async {
        loop {
            let shown = bottle.bottle(&["dashboard", "--json"]).await;
            assert!(shown.status.success(), "{}", shown.stderr);
            let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
            if let Some(first) = shown["proposals"].get(0) {
                return first.clone();
            }
        }
    };
    within("a proposal on the dashboard", looking).await
}

async fn fetch(bottle: &mut Bottle) -> String {
    bottle.sh("curl -sS -o /dev/null -w '%{http_code}' https://new.example/").await
}

async fn allowlist(bottle: &mut Bottle) -> String {
    bottle.sh("curl -sS http://_egress-proxy.local/allowlist").await
}

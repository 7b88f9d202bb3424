//! git-gate: repositories are read and written under their own URLs, without a key in the bottle; what holds a secret, or
//! would take something away, does not get to the upstream, and whoever pushed it is told why.

use serde_json::Value;

use crate::bottle::{Bottle, Setup};
use crate::engine::{self, docker, inspect, lost_every_capability};
use crate::git_host::GitHost;

/// A bottle with one repository behind the gate.
struct Place {
    host: GitHost,
    bottle: Bottle,
}

impl Place {
    async fn new() -> Self {
        let host = GitHost::start().await;
        let setup = Setup::closed();
        let key = setup.file("key", &host.key);
        let setup = setup.frontmatter(&host.manifest(&key.display().to_string(), &host.host_key));
        let bottle = gated(setup).await.start().await;
        Self { host, bottle }
    }

    /// With a clone in the working directory that has one commit of its own.
    async fn cloned() -> Self {
        let mut place = Self::new().await;
        let url = place.host.url("infra");
        let cloned = place
            .bottle
            .sh(&format!("git clone -q {url} infra && cd infra && {IDENTITY} && git log --format=%s"))
            .await;
        assert_eq!(cloned, "one");
        place
    }

    /// Runs a script that pushes a key, and looks at what its author is told and what upstream has.
    async fn refuses_for_a_key(&mut self, what: &str, script: &str, before: &str) {
        let said = self.bottle.sh(script).await;
        assert!(said.contains("git-gate: blocked by scan:") && said.contains("aws-access-key"), "{what}: {said}");
        assert_eq!(self.host.refs().await, before, "{what}");
    }

    /// The records of the gate, with the rest of what `bottle logs` says.
    async fn records(&self) -> (Vec<Value>, String) {
        let logs = self.bottle.bottle(&["logs", &self.bottle.identity]).await;
        let records = logs.stdout.lines().map(|line| serde_json::from_str(line).expect("a record is JSON"));
        let records = records.filter(|record: &Value| record["repository"] == "infra").collect();
        (records, logs.stdout + &logs.stderr)
    }
}

/// The setup with a base for the gate's image that needs no registry.
async fn gated(setup: Setup) -> Setup {
    setup.variable("CLAUDE_BOTTLE_GIT_GATE_IMAGE", &engine::git_host_image().await)
}

#[tokio::test]
async fn a_repository_is_read_and_written_under_its_own_url() {
    let mut place = Place::cloned().await;
    let pushed = place.bottle.sh("echo two >>file; git commit -qam two; git push -q && echo pushed").await;
    assert_eq!(pushed, "pushed");
    assert_eq!(place.host.infra("git log --format=%s main").await, "two\none");
    let branch = "git checkout -qb topic; git tag -am v1 v1; git push -q --atomic origin topic v1 && echo pushed";
    assert_eq!(place.bottle.sh(branch).await, "pushed");
    assert!(place.host.refs().await.contains("refs/tags/v1"), "{}", place.host.refs().await);

    place.host.infra("git update-ref refs/heads/news main && git branch -D topic").await;
    let read = place.bottle.sh("git fetch -q --prune; git branch -r --format='%(refname)' | grep -v HEAD").await;
    assert_eq!(read, "refs/remotes/origin/main\nrefs/remotes/origin/news", "news come, and what upstream dropped goes");

    let (records, _) = place.records().await;
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).cloned().collect::<Vec<_>>();
    assert!(of("fetch").len() >= 2 && of("fetch").iter().all(|record| record["outcome"] == "completed"), "{records:?}");
    let pushes: Vec<_> = of("push").iter().map(|record| (record["outcome"].clone(), record["refs"].clone())).collect();
    let completed = |refs: &[&str]| ("completed".into(), refs.into());
    assert_eq!(pushes, [completed(&["refs/heads/main"]), completed(&["refs/heads/topic", "refs/tags/v1"])]);
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn a_push_with_a_secret_in_it_is_refused_wherever_the_secret_is() {
    let mut place = Place::cloned().await;
    let before = place.host.refs().await;
    let secret = format!("AKIA{}", "Q3ZX7RTM5KWNC2VB");
    for (what, script) in [
        ("a file", format!("echo key={secret} >new; git add new; git commit -qm new")),
        (
            "a commit that a later one mends",
            format!("echo {secret} >new; git add new; git commit -qm a; git rm -q new; git commit -qm b"),
        ),
        ("base64 in a file", format!("echo key={secret} | base64 >new; git add new; git commit -qm x")),
        ("a file's name", format!("touch {secret}; git add .; git commit -qm x")),
        ("a commit's message", format!("git commit -q --allow-empty -m 'use {secret}'")),
        ("an author", format!("git commit -q --allow-empty -m x --author='{secret} <a@example.test>'")),
    ] {
        let script = format!("git reset -q --hard origin/main; {script}; git push -q origin HEAD:new");
        place.refuses_for_a_key(what, &script, &before).await;
    }
    place
        .refuses_for_a_key("a tag's message", &format!("git tag -am '{secret}' v2; git push -q origin v2"), &before)
        .await;
    place.refuses_for_a_key("a branch's name", &format!("git push -q origin HEAD:refs/heads/{secret}"), &before).await;
    let (records, shown) = place.records().await;
    let blocked = records.iter().filter(|record| record["outcome"] == "blocked" && record["by"] == "scan").count();
    assert_eq!(blocked, 8, "{records:?}");
    assert!(!shown.contains(&secret), "{shown}");
    let pushed = place.bottle.sh("git reset -q --hard origin/main; echo clean >new; git add new; git commit -qm clean; git push -q origin HEAD:new && echo pushed").await;
    assert_eq!(pushed, "pushed", "what is clean still passes");
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn nothing_is_taken_away_from_upstream() {
    let mut place = Place::cloned().await;
    place.bottle.sh("echo two >>file; git commit -qam two; git tag v1; git push -q origin main v1").await;
    let before = place.host.refs().await;
    for (script, reason) in [
        (
            "git reset -q --hard HEAD~1; git commit -q --allow-empty -m other; git push -q --force origin main",
            "would lose commits",
        ),
        ("git push -q origin :main", "would be deleted"),
        ("git tag -f v1 HEAD~1 >/dev/null; git push -q --force origin v1", "is there already"),
        ("git push -q origin HEAD:refs/pull/1/head", "neither a branch nor a tag"),
    ] {
        let said = place.bottle.sh(&format!("git reset -q --hard origin/main; {script}")).await;
        assert!(said.contains("git-gate: denied by policy:") && said.contains(reason), "{script}: {said}");
        assert_eq!(place.host.refs().await, before, "{script}");
    }
    // Upstream went on meanwhile: the push is told to be old, and loses nothing.
    place.host.infra("git update-ref refs/heads/main $(git commit-tree -p main -m three main^{tree})").await;
    let said = place
        .bottle
        .sh("git reset -q --hard origin/main; git commit -q --allow-empty -m mine; git push -q origin main")
        .await;
    assert!(said.contains("rejected"), "{said}");
    assert_eq!(place.host.infra("git log -1 --format=%s main").await, "three");
    assert!(place.bottle.exit(0).await.status.success());
}

#[tokio::test]
async fn only_what_the_manifest_names_is_served_and_the_key_is_nowhere() {
    let mut place = Place::cloned().await;
    let other = place.host.url("secret");
    for url in [
        "git://git-gate/secret.git",
        "git://git-gate/",
        "git://git-gate/infra.git/../../run/git-gate",
        "git://git-gate/../run/git-gate/keys",
        "git://git-gate//repositories/infra.git/refs",
        other.as_str(),
    ] {
        let said = place.bottle.sh(&format!("git ls-remote {url} && echo served")).await;
        assert!(!said.contains("served"), "{url}: {said}");
    }
    let gate = inspect(&place.bottle.container("git-gate")).await;
    let own = format!("claude-bottle-net-{}", place.bottle.identity);
    for (network, endpoint) in gate["NetworkSettings"]["Networks"].as_object().expect("networks") {
        let address = endpoint["IPAddress"].as_str().expect("an address");
        // Who answers asks upstream first; who does not, never will.
        let patience = if *network == own { 60 } else { 3 };
        let said = place
            .bottle
            .sh(&format!("timeout {patience} git ls-remote git://{address}/infra.git >/dev/null 2>&1; echo $?"))
            .await;
        assert_eq!(said == "0", *network == own, "{network} {address}: {said}");
    }

    let secret = place.host.key.lines().nth(2).expect("a key has lines").to_owned();
    for thing in [
        &place.bottle.container("git-gate"),
        &place.bottle.container("agent"),
        gate["Image"].as_str().expect("an image"),
    ] {
        assert!(!inspect(thing).await.to_string().contains(&secret), "{thing}");
    }
    assert!(!engine::logs(&place.bottle.container("git-gate")).await.contains(&secret));
    assert_eq!(place.bottle.sh(&format!("grep -rIls -e '{secret}' / --exclude-dir=proc --exclude-dir=sys")).await, "");
    // In the gate's memory, and not on the disk that its container has.
    let mounts = docker(&["exec", &place.bottle.container("git-gate"), "cat", "/proc/mounts"]).await;
    assert!(mounts.lines().any(|line| line.starts_with("tmpfs /run/git-gate ")), "{mounts}");
    // The gate's user enters, and nobody else.
    let home = "cd /run/git-gate && stat -c '%n %a %u' . keys keys/*";
    let owned = docker(&["exec", "-u", "65532", &place.bottle.container("git-gate"), "sh", "-c", home]).await;
    assert_eq!(owned, ". 700 65532\nkeys 700 65532\nkeys/infra 400 65532");
    assert_eq!(gate["HostConfig"]["ReadonlyRootfs"], true);
    assert!(lost_every_capability(&gate), "{gate}");
    assert!(place.bottle.exit(0).await.status.success());
    let volumes = gate["Mounts"].as_array().expect("mounts").iter().filter_map(|mount| mount["Name"].as_str());
    let left = docker(&["volume", "ls", "-q"]).await;
    assert_eq!(volumes.filter(|volume| left.contains(volume)).count(), 0, "the repositories go with the bottle");
}

#[tokio::test]
async fn a_host_with_another_key_is_not_spoken_to() {
    let host = GitHost::start().await;
    let setup = Setup::closed();
    let key = setup.file("key", &host.key);
    let wrong = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbcxgwSTpSLIgFrjxGCIsnpxKk1nvMyHqSqMPzLJ8Ue";
    let setup = setup.frontmatter(&host.manifest(&key.display().to_string(), wrong));
    let mut bottle = gated(setup).await.start().await;
    let said = bottle.sh(&format!("git clone -q {} infra; ls infra 2>/dev/null", host.url("infra"))).await;
    assert!(said.contains("git-gate: upstream of `infra` cannot be read: Host key verification failed"), "{said}");
    let logs = bottle.bottle(&["logs", &bottle.identity.clone()]).await.stdout;
    assert!(logs.contains("\"outcome\":\"failed\",\"by\":\"upstream\""), "{logs}");
    assert!(bottle.exit(0).await.status.success());
}

const IDENTITY: &str = "git config user.name Agent && git config user.email agent@example.test";

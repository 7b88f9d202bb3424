//! The engine as its own client tells it; the tests' second opinion on what `bottle` did.

use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

/// Runs the docker client; panics with its words when it fails.
pub(crate) async fn docker(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Everything a container wrote, both streams.
pub(crate) async fn logs(container: &str) -> String {
    let output = run(&["logs", container]).await;
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

async fn run(arguments: &[&str]) -> Output {
    let output = Command::new("docker").args(arguments).kill_on_drop(true).output().await;
    output.expect("no `docker` on this machine: run `scripts/engine`")
}

pub(crate) async fn inspect(thing: &str) -> Value {
    let found: Vec<Value> = serde_json::from_str(&docker(&["inspect", thing]).await).expect("docker prints JSON");
    found.into_iter().next().expect("one thing was asked about")
}

/// Whether an inspected container lost every capability: Docker says so in a word, Podman names each that it would have given.
pub(crate) fn lost_every_capability(found: &Value) -> bool {
    let dropped: Vec<&str> =
        found["HostConfig"]["CapDrop"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    dropped == ["ALL"] || GIVEN_BY_PODMAN.iter().all(|capability| dropped.contains(capability))
}

/// Whether an inspected container has our seccomp profile and can gain no privilege: Docker shows the profile, Podman its file.
pub(crate) fn has_our_profile(found: &Value) -> bool {
    let options: Vec<&str> =
        found["HostConfig"]["SecurityOpt"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_ours = |option: &&str| option.starts_with("seccomp={") || option.ends_with("/seccomp.json");
    options.len() == 2 && options.contains(&"no-new-privileges") && options.iter().any(is_ours)
}

const GIVEN_BY_PODMAN: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The names of all containers and networks of one bottle, running or not.
pub(crate) async fn belongings(identity: &str) -> Vec<String> {
    let filter = format!("label=claude-bottle.identity={identity}");
    let containers = docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).await;
    let networks = docker(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"]).await;
    containers.lines().chain(networks.lines()).map(str::to_owned).collect()
}

/// Tells what each container that bears a label does and what it said last, and removes whatever bears it: for a test that has
/// failed and can wait for nothing any more.
pub(crate) fn examine_and_remove(label: &str) {
    let said = std::process::Command::new("sh").args(["-c", EXAMINE, "examine", label]).output();
    if let Ok(said) = said {
        eprint!("{}", String::from_utf8_lossy(&said.stdout));
    }
}

const EXAMINE: &str = r#"exec 2>&1
for id in $(docker ps -aq --filter "label=$1"); do
    docker inspect -f '--- {{.Name}}: {{.State.Status}}, code {{.State.ExitCode}}' "$id"
    docker top "$id" -eo pid,ppid,etimes,args || docker top "$id"
    docker logs --tail 25 "$id"
done
docker ps -aq --filter "label=$1" | xargs -r docker rm -fv >/dev/null
docker network ls -q --filter "label=$1" | xargs -r docker network rm >/dev/null"#;

/// The host's own address on the engine's default bridge: where containers that may get out find this machine.
pub(crate) async fn host_address() -> String {
    gateway("bridge").await
}

/// A network's gateway; by convention the first of its addresses where the engine does not say.
pub(crate) async fn gateway(network: &str) -> String {
    let format = "{{with index .IPAM.Config 0}}{{or .Gateway .Subnet}}{{end}}";
    let said = docker(&["network", "inspect", network, "--format", format]).await;
    match said.split_once(".0/") {
        Some((prefix, _)) => format!("{prefix}.1"),
        None => said,
    }
}

/// The agent image that `scripts/base-image` made.
pub(crate) async fn agent_image() -> String {
    newest("claude-bottle-slim").await
}

/// The image of a Git host that `scripts/base-image --git-host` made; git-gate is built on it too.
pub(crate) async fn git_host_image() -> String {
    newest("claude-bottle-git-host").await
}

async fn newest(repository: &str) -> String {
    let images = docker(&["image", "ls", repository, "--format", "{{.Repository}}:{{.Tag}}"]).await;
    let first = images.lines().next();
    first.unwrap_or_else(|| panic!("no image `{repository}`: run `scripts/base-image --git-host`")).to_owned()
}

/// Where this machine's engine listens.
#[cfg(feature = "launch-failures")]
pub(crate) fn socket() -> std::path::PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").into()
}

/// Builds an image from a Dockerfile that needs no other file.
pub(crate) async fn build(dockerfile: &str, image: &str) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("a file in a temporary folder");
    docker(&["build", "-q", "-t", image, &folder.path().to_string_lossy()]).await;
}

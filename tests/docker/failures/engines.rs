//! An engine of a test's own, with little of what engines need: its death, its return, and the ends of its addresses and its disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::bottle::{Setup, bottle_on};
use crate::engine::agent_image;

/// A `dockerd` that has the agent's image and nothing else.
struct Engine {
    daemon: Child,
    folder: TempDir,
    options: Vec<String>,
}

impl Engine {
    async fn start(options: &[&str]) -> Self {
        let folder = TempDir::new_in("/var/tmp").expect("a temporary folder");
        Self::start_in(folder, options).await
    }

    /// With its files in a folder that may be small.
    async fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let daemon = daemon(&folder, &options);
        let mut engine = Self { daemon, folder, options };
        engine.answers().await;
        let image = agent_image().await;
        let mut saving = Command::new("docker").args(["save", &image]).stdout(Stdio::piped()).spawn().expect("docker");
        let archive = saving.stdout.take().expect("stdout is piped");
        let loaded = engine.docker().arg("load").stdin(archive).output().expect("docker");
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        assert!(saving.wait().expect("a child of ours").success());
        engine
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(self.address());
        command
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.docker().args(arguments).output().expect("docker");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What it still has of bottles.
    fn belongings(&self) -> String {
        let filter = "label=claude-bottle.identity";
        self.says(&["ps", "-aq", "--filter", filter]) + &self.says(&["network", "ls", "-q", "--filter", filter])
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn answers(&mut self) {
        while self.says(&["version", "--format", "{{.Server.Version}}"]).is_empty() {
            assert!(self.daemon.try_wait().expect("a child of ours").is_none(), "no engine: {}", self.log());
            tokio::task::yield_now().await;
        }
    }

    /// Killed, and its containerd with it. The next daemon takes any process of that id for a containerd that lives, also one that
    /// is still going or that nobody has reaped, and waits for it in vain: so its id is forgotten once it is gone.
    async fn die(&mut self) {
        let file = self.folder.path().join("exec/containerd/containerd.pid");
        let containerd = std::fs::read_to_string(&file).expect("the id of a containerd");
        self.daemon.kill().expect("a child of ours");
        self.daemon.wait().expect("a child of ours");
        // The command line of one that is not reaped is empty.
        let command_line = format!("/proc/{}/cmdline", containerd.trim());
        while std::fs::read(&command_line).is_ok_and(|line| !line.is_empty()) {
            tokio::task::yield_now().await;
        }
        std::fs::remove_file(file).expect("a file of ours");
    }

    /// As a service manager does it: its containers end first.
    fn stop(&mut self) {
        let asked = Command::new("kill").arg(self.daemon.id().to_string()).status().expect("kill");
        assert!(asked.success());
        self.daemon.wait().expect("a child of ours");
    }

    async fn come_back(&mut self) {
        self.daemon = daemon(&self.folder, &self.options);
        self.answers().await;
    }

    /// Asserts that a cleanup finds everything that it still has.
    async fn is_clean_after_cleanup(&self, home: &Path) {
        let cleaned = bottle_on(&self.address(), home, &["cleanup", "--yes"]).await;
        assert!(cleaned.status.success(), "{}", cleaned.stderr);
        assert_eq!(self.belongings(), "", "{}", cleaned.stderr);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let containers = self.says(&["ps", "-aq"]);
        let _ = self.docker().args(["rm", "-f"]).args(containers.lines()).output();
        if matches!(self.daemon.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

fn daemon(folder: &TempDir, options: &[String]) -> Child {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let log = File::options().create(true).append(true).open(folder.path().join("log")).expect("a log");
    // A killed one's would be taken for a living one's.
    let _ = std::fs::remove_file(path("pid"));
    // In a network of its own: `--bridge none` takes away the bridge of whoever's network it finds.
    Command::new("unshare")
        .args(["--net", "dockerd"])
        .args(["--host", &format!("unix://{}", path("docker.sock")), "--data-root", &path("data")])
        .args(["--exec-root", &path("exec"), "--pidfile", &path("pid"), "--bridge", "none"])
        .args(options)
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("dockerd")
}

#[tokio::test]
async fn an_address_pool_that_is_used_up_is_named_and_nothing_is_left() {
    let engine = Engine::start(&["--default-address-pool", "base=10.213.0.0/28,size=29"]).await;
    let first = Setup::closed().variable("DOCKER_HOST", &engine.address()).start().await;
    let second = Setup::closed().variable("DOCKER_HOST", &engine.address()).run(&["-c", "true"]).await;
    assert_eq!(second.status.code(), Some(125), "{}", second.stderr);
    assert!(second.stderr.contains("error: cannot create network `claude-bottle-"), "{}", second.stderr);
    assert!(second.stderr.contains("hint: the engine has no addresses left"), "{}", second.stderr);
    assert!(first.exit(0).await.status.success());
    assert_eq!(engine.belongings(), "");
}

#[tokio::test]
async fn a_rule_that_a_killed_engine_left_is_noticed_before_the_agent_starts() {
    let engine = Engine::start(&["--default-address-pool", "base=10.213.0.0/27,size=29"]).await;
    let rule = "iptables --wait -t nat -I POSTROUTING -s 10.213.0.0/27 ! -o br-of-nobody -j MASQUERADE";
    let inside = ["-t", &engine.daemon.id().to_string(), "-n", "sh", "-c", rule];
    assert!(Command::new("nsenter").args(inside).status().expect("nsenter").success());
    let ended = Setup::closed().variable("DOCKER_HOST", &engine.address()).run(&["-c", "echo started"]).await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: the agent's container does not reach the proxy: "), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert_eq!(engine.belongings(), "");
}

#[tokio::test]
async fn an_engine_that_dies_under_a_bottle_ends_it_and_cleanup_finds_the_rest() {
    let mut engine = Engine::start(&["--live-restore"]).await;
    let bottle = Setup::closed().variable("DOCKER_HOST", &engine.address()).start().await;
    engine.die().await;
    let (ended, home) = bottle.end_keeping_home().await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("`bottle cleanup` removes what is left"), "{}", ended.stderr);
    engine.come_back().await;
    assert_ne!(engine.belongings(), "", "{}", engine.log());
    engine.is_clean_after_cleanup(home.path()).await;
}

#[tokio::test]
async fn an_engine_that_is_restarted_under_a_bottle_ends_it_and_leaves_nothing_that_cleanup_does_not_find() {
    let mut engine = Engine::start(&[]).await;
    let bottle = Setup::closed().variable("DOCKER_HOST", &engine.address()).start().await;
    engine.stop();
    engine.come_back().await;
    let (ended, home) = bottle.end_keeping_home().await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
    engine.is_clean_after_cleanup(home.path()).await;
}

#[tokio::test]
async fn a_full_disk_is_named_and_nothing_is_left() {
    let folder = TempDir::new_in("/var/tmp").expect("a temporary folder");
    let small = ["-t", "tmpfs", "-o", "size=420m", "tmpfs"];
    assert!(Command::new("mount").args(small).arg(folder.path()).status().expect("mount").success());
    let engine = Engine::start_in(folder, &[]).await;
    // All but a little, and less than the proxy's image needs.
    let filler = engine.folder.path().join("filler");
    let space = "fallocate -l $(( $(df --output=avail -B1 . | tail -n 1) - (3 << 20) )) filler";
    let filled = Command::new("bash").args(["-c", space]).current_dir(engine.folder.path()).status().expect("bash");
    assert!(filled.success());
    let ended = Setup::closed().variable("DOCKER_HOST", &engine.address()).run(&["-c", "true"]).await;
    assert_eq!(ended.status.code(), Some(125), "{}", ended.stderr);
    assert!(ended.stderr.contains("no space left on device"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: the engine's disk is full"), "{}", ended.stderr);
    assert_eq!(engine.belongings(), "");
    std::fs::remove_file(filler).expect("a file of ours");
    let again = Setup::closed().variable("DOCKER_HOST", &engine.address()).run(&["-c", "echo works"]).await;
    assert_eq!(again.stdout, "works\n", "{}", again.stderr);
    let mounted = engine.folder.path().to_owned();
    drop(engine);
    assert!(Command::new("umount").arg("-l").arg(mounted).status().is_ok());
}

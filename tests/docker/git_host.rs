//! A Git host: sshd in a container, one account, one key, bare repositories. What arrived there is what got through the gate.

use std::process::Command;

use crate::engine::{self, docker};

pub(crate) struct GitHost {
    container: String,
    address: String,
    port: String,
    /// The private key that it lets in.
    pub(crate) key: String,
    /// What it shows as its own, without a host's name.
    pub(crate) host_key: String,
}

impl GitHost {
    /// With two repositories of one commit each on `main`: `acme/infra.git` and `acme/secret.git`.
    pub(crate) async fn start() -> Self {
        let address = engine::host_address().await;
        let image = engine::git_host_image().await;
        let place = format!("{address}::22");
        let container = docker(&["run", "-d", "--rm", "-p", &place, &image, "sleep", "infinity"]).await;
        let mut host = Self { container, address, port: String::new(), key: String::new(), host_key: String::new() };
        let published = docker(&["port", &host.container, "22/tcp"]).await;
        host.port = published.rsplit(':').next().expect("docker prints ADDRESS:PORT").to_owned();
        // Without -D: returns when it listens.
        host.exec("root", "ssh-keygen -q -A && /usr/sbin/sshd").await;
        host.git(SET_UP).await;
        host.key = host.git("cat key").await + "\n";
        let host_key = host.exec("root", "cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub").await;
        host.host_key = host_key;
        host
    }

    /// One entry of a manifest's `git`, for `acme/infra.git`.
    pub(crate) fn manifest(&self, identity_file: &str, host_key: &str) -> String {
        format!(
            "git:\n  - Name: infra\n    Upstream: {}\n    IdentityFile: {identity_file}\n    KnownHostKey: {host_key}\n    \
             ExtraHosts: {{{NAME}: {}}}\negress_proxy: {{defaults: off}}",
            self.url("infra"),
            self.address
        )
    }

    /// A repository as the world knows it.
    pub(crate) fn url(&self, repository: &str) -> String {
        format!("ssh://git@{NAME}:{}/home/git/acme/{repository}.git", self.port)
    }

    /// What a line of shell in `acme/infra.git` prints.
    pub(crate) async fn infra(&self, line: &str) -> String {
        self.git(&format!("cd acme/infra.git && {line}")).await
    }

    /// Every branch and tag of `acme/infra.git` with what it points at.
    pub(crate) async fn refs(&self) -> String {
        self.infra("git for-each-ref --format='%(refname) %(objectname)'").await
    }

    async fn git(&self, script: &str) -> String {
        self.exec("git", script).await
    }

    async fn exec(&self, user: &str, script: &str) -> String {
        docker(&["exec", "-u", user, "-w", "/home/git", &self.container, "bash", "-ec", script]).await
    }
}

impl Drop for GitHost {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.container]).output();
    }
}

const NAME: &str = "git.example.test";

const SET_UP: &str = "
    export HOME=/home/git
    umask 077
    ssh-keygen -q -t ed25519 -N '' -f key
    mkdir .ssh acme
    cp key.pub .ssh/authorized_keys
    git config --global user.name Ada
    git config --global user.email ada@example.test
    git config --global init.defaultBranch main
    for name in infra secret; do
        git init -q seed
        echo one >seed/file
        git -C seed add .
        git -C seed commit -q -m one
        git clone -q --bare seed acme/$name.git
        rm -rf seed
    done";

//! The hook that `docs/scan.md` shows, in a real repository.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    generate::{Dice, secret},
    matrix::SCANNER,
};

struct Repository(TempDir);

impl Repository {
    /// With the documented hook, and `egress-proxy` on the path.
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().expect("a temporary folder"));
        repository.git(&["init", "--quiet"]);
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scan.md")).expect("the page");
        let hook = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a hook");
        let place = repository.path().join(".git/hooks/pre-commit");
        fs::write(&place, hook).expect("the hook can be written");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("the hook can be made a program");
        let programs = repository.path().join(".git/bin");
        fs::create_dir(&programs).expect("a folder");
        symlink(env!("CARGO_BIN_EXE_egress-proxy-under-test"), programs.join("egress-proxy")).expect("a link");
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn git(&self, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("git")
            .current_dir(self.path())
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path().join(".git/bin").display()))
            .output()
            .expect("git is there: scripts/test-clients installs it")
    }

    fn commit(&self, name: &str, text: &str) -> Output {
        fs::write(self.path().join(name), text).expect("the file can be written");
        self.git(&["add", name]);
        self.git(&["commit", "--quiet", "-m", "Add a file"])
    }
}

#[test]
fn the_documented_hook_stops_a_commit_with_a_secret_and_no_other() {
    let repository = Repository::new();
    let clean = repository.commit("clean.txt", "nothing here\n");
    assert!(clean.status.success(), "{}", String::from_utf8_lossy(&clean.stderr));
    let rule = SCANNER.rules().find(|rule| rule.id() == "github-token").expect("the rule is there");
    let token = secret(rule, &mut Dice::new(3));
    let dirty = repository.commit("config.js", &format!("// set up\ntoken = '{token}'\n"));
    assert!(!dirty.status.success());
    let said = [dirty.stdout, dirty.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.contains("github-token") && said.contains("config.js:2:10"), "{said}");
    assert!(!said.contains(&token[..12]), "{said}");
    let kept = repository.git(&["log", "--oneline"]);
    assert_eq!(String::from_utf8_lossy(&kept.stdout).lines().count(), 1);
}

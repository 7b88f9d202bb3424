//! Git in the bottle: every upstream of the manifest is rewritten to git-gate, which alone holds the keys.

use std::fmt::Write as _;
use std::io;

use shared::contract::GIT_GATE_ALIAS;

use super::{Account, at_home};
use crate::archive::{Archive, Facts};
use crate::plan::GitRemote;

pub(super) fn add(archive: &mut Archive, account: &Account, remotes: &[GitRemote]) -> io::Result<()> {
    if remotes.is_empty() {
        return Ok(());
    }
    archive.file(&at_home(account, ".gitconfig"), Facts::new(0o644, account.owner), rewrites(remotes).as_bytes())
}

fn rewrites(remotes: &[GitRemote]) -> String {
    let mut text = String::new();
    for remote in remotes {
        let _ = writeln!(text, "[url \"git://{GIT_GATE_ALIAS}/{}.git\"]", remote.name);
        for form in forms(&remote.upstream) {
            let _ = writeln!(text, "\tinsteadOf = {form}");
        }
    }
    text
}

/// An upstream as its URL, and in the short form that people write where the port is ssh's own.
fn forms(upstream: &str) -> Vec<String> {
    let rest = upstream.strip_prefix("ssh://").and_then(|rest| rest.split_once('/'));
    let short = rest.filter(|(authority, path)| !authority.contains([':', '[']) && !path.starts_with('~'));
    let short = short.map(|(authority, path)| format!("{authority}:{path}"));
    [upstream.to_owned()].into_iter().chain(short).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_rewritten_to_the_gate() {
        let remote = GitRemote {
            name: "infra".to_owned(),
            upstream: "ssh://git@git.example.net:30009/acme/infra.git".to_owned(),
            identity_file: "/dev/null".into(),
            known_host_key: String::new(),
            extra_hosts: vec![],
        };
        let expected =
            "[url \"git://git-gate/infra.git\"]\n\tinsteadOf = ssh://git@git.example.net:30009/acme/infra.git\n";
        assert_eq!(rewrites(&[remote]), expected);
    }

    #[test]
    fn an_upstream_on_sshs_own_port_is_known_by_its_short_form_too() {
        assert_eq!(
            forms("ssh://git@github.com/acme/infra.git"),
            ["ssh://git@github.com/acme/infra.git", "git@github.com:acme/infra.git"]
        );
        assert_eq!(forms("ssh://git@[::1]/a.git").len(), 1);
        assert_eq!(forms("ssh://git@host:22/a.git").len(), 1);
    }
}

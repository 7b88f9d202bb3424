//! The `git` key: repositories that the agent reaches through git-gate. The gate alone holds the key.

use std::net::IpAddr;
use std::sync::Arc;

use shared::yaml::{Diagnostics, Located, Node};

use super::source::{Placed, Source};

/// One entry, its files not looked at yet.
#[derive(Debug, Clone)]
pub struct GitEntry {
    pub name: Placed<String>,
    pub upstream: String,
    pub identity_file: Placed<String>,
    pub known_host_key: String,
    pub extra_hosts: Vec<(String, IpAddr)>,
}

pub fn decode(node: &Node<'_, '_>, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Vec<GitEntry>> {
    let mut entries: Vec<GitEntry> = vec![];
    for item in node.list(log)? {
        let Some(entry) = decode_entry(&item, source, log) else { continue };
        if let Some(first) = entries.iter().find(|known| known.name.value() == entry.name.value()) {
            let line = first.name.at.line;
            log.push(entry.name.at.error(format!("a second repository `{}`; line {line} has one", entry.name.value())));
        }
        entries.push(entry);
    }
    Some(entries)
}

fn decode_entry(item: &Node<'_, '_>, source: &Arc<Source>, log: &mut Diagnostics) -> Option<GitEntry> {
    let mut map = item.map(log)?;
    let name = map.require("Name", log).and_then(|node| name(&node, log));
    let upstream = map.require("Upstream", log).and_then(|node| upstream(&node, log));
    let identity_file = map.require("IdentityFile", log).and_then(|node| Some(node.locate(node.text(log)?.to_owned())));
    let known_host_key = map.require("KnownHostKey", log).and_then(|node| host_key(&node, log));
    let extra_hosts = map.take("ExtraHosts").map_or(Some(vec![]), |node| extra_hosts(&node, log));
    map.finish(log);
    let placed = |at| Placed { at, source: source.clone() };
    Some(GitEntry {
        name: placed(name?),
        upstream: upstream?,
        identity_file: placed(identity_file?),
        known_host_key: known_host_key?,
        extra_hosts: extra_hosts?,
    })
}

/// The name becomes a path of the gate's URL, so it is one plain segment.
fn name(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Located<String>> {
    let text = node.text(log)?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !plain || text.is_empty() || text.starts_with(['.', '-']) {
        log.push(node.error(format!("`{text}` is no repository name: letters, digits, `-`, `_` and `.`")));
        return None;
    }
    Some(node.locate(text.to_owned()))
}

/// `ssh://[USER@]HOST[:PORT]/PATH`, the one form whose host and port cannot be misread.
fn upstream(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<String> {
    let text = node.text(log)?;
    let valid = text.strip_prefix("ssh://").and_then(|rest| rest.split_once('/')).is_some_and(|(authority, path)| {
        let host = authority.rsplit_once('@').map_or(authority, |(user, host)| if user.is_empty() { "" } else { host });
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        printable && !path.is_empty() && !host.starts_with('-') && shared::authority::Authority::parse(host, 22).is_ok()
    });
    if !valid {
        let error = node.error(format!("`{text}` is no SSH upstream"));
        let hint = match text.split_once(':') {
            Some((host, path)) if host.contains('@') && !path.starts_with("//") => {
                format!("write `ssh://{host}/{}`", path.trim_start_matches('/'))
            }
            _ => "write `ssh://[USER@]HOST[:PORT]/PATH`".to_owned(),
        };
        log.push(error.with_hint(hint));
        return None;
    }
    Some(text.to_owned())
}

fn host_key(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<String> {
    let text = node.text(log)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let base64 = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    match words.as_slice() {
        [kind, key, ..] if (kind.starts_with("ssh-") || kind.starts_with("ecdsa-")) && base64(key) => {
            Some(format!("{kind} {key}"))
        }
        _ => {
            let error = node.error("no host key: a type, then Base64");
            log.push(error.with_hint("`ssh-keyscan -t ed25519 HOST` prints it, after the host's name"));
            None
        }
    }
}

fn extra_hosts(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Vec<(String, IpAddr)>> {
    let mut hosts = vec![];
    for entry in node.map(log)?.rest() {
        if let Err(error) = entry.name.parse::<shared::authority::Host>() {
            log.push(entry.key.error(error.to_string()));
        }
        let address = entry.value.text(log).map(str::parse::<IpAddr>);
        match address {
            Some(Ok(address)) => hosts.push((entry.name.to_owned(), address)),
            Some(Err(_)) => log.push(entry.value.error("no IP address")),
            None => {}
        }
    }
    Some(hosts)
}

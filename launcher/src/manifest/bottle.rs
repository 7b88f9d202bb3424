//! `bottles/NAME.md`: what an agent may reach and hold. The body is notes for humans.

use std::sync::Arc;

use shared::yaml::{Diagnostics, Document, Located, Node, suggestion};

use super::egress::EgressGrant;
use super::env::{self, Assignment};
use super::git::{self, GitEntry};
use super::legacy;
use super::source::{FRONTMATTER_LINE, Problems, Source};
use crate::name::BottleName;
use crate::plan::Supervise;
use crate::spec::Dlp;

/// One decoded file, or, after [`Bottle::inherit`], a file joined with its parents. `None` and empty mean: not said.
#[derive(Debug)]
pub struct Bottle {
    pub name: BottleName,
    /// This file, then its parents.
    pub sources: Vec<Arc<Source>>,
    pub extends: Option<Located<BottleName>>,
    pub env: Vec<Assignment>,
    pub egress: EgressGrant,
    pub git: Vec<GitEntry>,
    pub supervise: Option<Supervise>,
    pub dlp: Option<Dlp>,
    /// The agent's image, where it is not the one that we ship.
    pub image: Option<String>,
    /// What runs in the bottle, where it is not Claude Code.
    pub command: Option<Vec<String>>,
}

impl Bottle {
    /// `None` where anything was reported.
    pub fn decode(name: &BottleName, source: &Arc<Source>, problems: &mut Problems) -> Option<Self> {
        let mut log = Diagnostics::default();
        let bottle = decode(name, source, &mut log);
        problems.extend(source, &log);
        bottle.filter(|_| log.is_empty())
    }

    /// Joins what the parent says: it comes first, and what the child says too is the child's.
    pub fn inherit(&mut self, parent: Self) {
        self.sources.extend(parent.sources);
        let own = std::mem::take(&mut self.env);
        let overridden = |theirs: &Assignment| own.iter().any(|ours| ours.variable.value() == theirs.variable.value());
        self.env = parent.env.into_iter().filter(|theirs| !overridden(theirs)).collect();
        self.env.extend(own);
        self.egress.inherit(parent.egress);
        let own = std::mem::take(&mut self.git);
        let overridden = |theirs: &GitEntry| own.iter().any(|ours| ours.name.value() == theirs.name.value());
        self.git = parent.git.into_iter().filter(|theirs| !overridden(theirs)).collect();
        self.git.extend(own);
        self.supervise = self.supervise.or(parent.supervise);
        self.dlp = self.dlp.or(parent.dlp);
        self.image = self.image.take().or(parent.image);
        self.command = self.command.take().or(parent.command);
    }
}

fn decode(name: &BottleName, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Bottle> {
    let document = Document::parse(source.frontmatter(), FRONTMATTER_LINE).map_err(|error| log.push(error)).ok()?;
    let mut bottle = Bottle {
        name: name.clone(),
        sources: vec![source.clone()],
        extends: None,
        env: vec![],
        egress: EgressGrant::default(),
        git: vec![],
        supervise: None,
        dlp: None,
        image: None,
        command: None,
    };
    let Some(root) = document.root().filter(|root| !root.is_null()) else { return Some(bottle) };
    let mut map = root.map(log)?;
    legacy::report(&mut map, log);
    bottle.extends = map.take("extends").and_then(|node| Some(node.locate(super::parse(&node, log)?)));
    bottle.env = map.take("env").and_then(|node| env::decode(&node, source, log)).unwrap_or_default();
    bottle.egress =
        map.take("egress_proxy").and_then(|node| EgressGrant::decode(&node, source, log)).unwrap_or_default();
    bottle.git = map.take("git").and_then(|node| git::decode(&node, source, log)).unwrap_or_default();
    bottle.supervise = map.take("supervise").and_then(|node| node.boolean(log)).map(|on| match on {
        true => Supervise::On,
        false => Supervise::Off,
    });
    bottle.dlp = map.take("dlp").and_then(|node| dlp(&node, log));
    bottle.image = map.take("image").and_then(|node| word(&node, log));
    bottle.command = map.take("command").and_then(|node| command(&node, log));
    map.finish(log);
    Some(bottle)
}

fn dlp(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Dlp> {
    if node.as_boolean() == Some(false) {
        return Some(Dlp::Off);
    }
    let word = node.text(log)?;
    let unknown = |_| log.push(node.error(format!("unknown value `{word}`")).with_hint(suggestion(word, &Dlp::NAMES)));
    word.parse().map_err(unknown).ok()
}

fn word(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<String> {
    let text = node.text(log)?;
    if text.is_empty() || text.contains(char::is_whitespace) || text.starts_with('-') {
        log.push(node.error(format!("`{text}` is no image")).with_hint("write it as `NAME:TAG`"));
        return None;
    }
    Some(text.to_owned())
}

fn command(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Vec<String>> {
    let words: Vec<String> = node.texts(log)?.into_iter().map(|word| word.value).collect();
    if words.is_empty() {
        log.push(node.error("an empty command").with_hint("leave `command` out to run Claude Code"));
        return None;
    }
    Some(words)
}

//! `agents/NAME.md`: which bottle, which skills, and the prompt. Other keys belong to the agent program's own format.

use std::sync::Arc;

use shared::yaml::{Diagnostics, Document, Map, Node};

use super::source::{FRONTMATTER_LINE, Placed, Problems, Source};
use crate::name::{AgentName, BottleName, SkillName};

/// A decoded agent file.
#[derive(Debug)]
pub struct Agent {
    pub name: AgentName,
    pub source: Arc<Source>,
    pub bottle: Placed<BottleName>,
    pub skills: Vec<Placed<SkillName>>,
    pub description: Option<String>,
}

impl Agent {
    /// `None` where anything was reported.
    pub fn decode(name: &AgentName, source: &Arc<Source>, problems: &mut Problems) -> Option<Self> {
        let mut log = Diagnostics::default();
        let agent = decode(name, source, &mut log);
        problems.extend(source, &log);
        agent.filter(|_| log.is_empty())
    }

    /// The body of the file.
    pub fn prompt(&self) -> &str {
        self.source.body()
    }
}

fn decode(name: &AgentName, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Agent> {
    let document = Document::parse(source.frontmatter(), FRONTMATTER_LINE).map_err(|error| log.push(error)).ok()?;
    let Some(root) = document.root() else {
        log.push(super::empty("an agent names its bottle: `bottle: NAME`"));
        return None;
    };
    let mut map = root.map(log)?;
    let bottle = map.require("bottle", log).and_then(|node| placed(&node, source, log));
    let skills = map.take("skills").map_or(Some(vec![]), |node| skills(&node, source, log));
    let description = map.take("description").and_then(|node| node.as_text()).map(str::to_owned);
    ignore_foreign_keys(&mut map);
    map.finish(log);
    Some(Agent { name: name.clone(), source: source.clone(), bottle: bottle?, skills: skills?, description })
}

fn skills(node: &Node<'_, '_>, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Vec<Placed<SkillName>>> {
    Some(node.list(log)?.iter().filter_map(|item| placed(item, source, log)).collect())
}

fn placed<T: std::str::FromStr<Err: std::fmt::Display>>(
    node: &Node<'_, '_>,
    source: &Arc<Source>,
    log: &mut Diagnostics,
) -> Option<Placed<T>> {
    let value = super::parse(node, log)?;
    Some(Placed { at: node.locate(value), source: source.clone() })
}

/// Keys of the agent program's own files, accepted so that one file can serve both.
fn ignore_foreign_keys(map: &mut Map<'_, '_>) {
    for key in FOREIGN_KEYS {
        map.take(key);
    }
}

const FOREIGN_KEYS: [&str; 4] = ["name", "model", "color", "memory"];

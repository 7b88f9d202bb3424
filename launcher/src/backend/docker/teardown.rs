//! What a launch has asked the engine for, and its removal in reverse order. A thing is registered before it is asked for,
//! so that a failure at any point finds everything that may exist.

use futures_util::future::join_all;

use super::engine::{Engine, EngineError};

/// Things in groups: a group's members come and go together.
#[derive(Debug, Default)]
pub(super) struct Created {
    groups: Vec<Vec<Thing>>,
}

#[derive(Debug, Clone)]
pub(super) enum Thing {
    Container(String),
    Network(String),
}

impl Created {
    pub(super) fn register(&mut self, group: Vec<Thing>) {
        self.groups.push(group);
    }

    /// Removes everything, the youngest group first. Goes on after a failure and reports the first.
    pub(super) async fn remove(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let mut outcome = Ok(());
        while let Some(group) = self.groups.pop() {
            for removed in join_all(group.iter().map(|thing| remove(engine, thing))).await {
                outcome = outcome.and(removed);
            }
        }
        outcome
    }
}

pub(super) async fn remove(engine: &Engine, thing: &Thing) -> Result<(), EngineError> {
    match thing {
        Thing::Container(name) => engine.remove_container(name).await,
        Thing::Network(name) => engine.remove_network(name).await,
    }
}

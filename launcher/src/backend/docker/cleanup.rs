//! What the engine holds of bottles, live or not: found by the identity label alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use shared::contract::{LABEL_AGENT, LABEL_BOTTLE, LABEL_IDENTITY, LABEL_ROLE};

use super::engine::inventory::{Containers, Labelled};
use super::engine::{Engine, EngineError};
use super::names::{LABEL_HOME, Role, home_label};
use super::teardown::{self, Thing};
use crate::backend::{ActiveBottle, Orphan, OrphanKind};
use crate::state::Identity;

/// Everything of this home whose identity is not `live`, in the order of removal.
pub(super) async fn orphans(
    engine: &Engine,
    home: &Path,
    live: &BTreeSet<Identity>,
) -> Result<Vec<Orphan>, EngineError> {
    let home = home_label(home);
    let (containers, networks) =
        tokio::try_join!(engine.containers(LABEL_IDENTITY, Containers::All), engine.networks(LABEL_IDENTITY))?;
    let containers = containers.into_iter().map(|found| (OrphanKind::Container, found));
    let networks = networks.into_iter().map(|found| (OrphanKind::Network, found));
    let own = containers.chain(networks).filter(|(_, found)| found.labels.get(LABEL_HOME) == Some(&home));
    let orphans = own.filter_map(|(kind, found)| {
        // A label that is no identity is not ours, whatever it says.
        let identity: Identity = found.labels.get(LABEL_IDENTITY)?.parse().ok()?;
        (!live.contains(&identity)).then_some(Orphan { identity, kind, name: found.name })
    });
    let mut orphans: Vec<Orphan> = orphans.collect();
    orphans.sort_by(|a, b| (a.kind, &a.identity, &a.name).cmp(&(b.kind, &b.identity, &b.name)));
    Ok(orphans)
}

/// Removes them in order. Goes on after a failure and reports the first.
pub(super) async fn remove(engine: &Engine, orphans: &[Orphan]) -> Result<(), EngineError> {
    let mut outcome = Ok(());
    for orphan in orphans {
        let thing = match orphan.kind {
            OrphanKind::Container => Thing::Container(orphan.name.clone()),
            OrphanKind::Network => Thing::Network(orphan.name.clone()),
        };
        outcome = outcome.and(teardown::remove(engine, &thing).await);
    }
    outcome
}

/// The bottles of which something runs.
pub(super) async fn active(engine: &Engine) -> Result<Vec<ActiveBottle>, EngineError> {
    let mut bottles: BTreeMap<String, Vec<Labelled>> = BTreeMap::new();
    for container in engine.containers(LABEL_IDENTITY, Containers::Running).await? {
        if let Some(identity) = container.labels.get(LABEL_IDENTITY) {
            bottles.entry(identity.clone()).or_default().push(container);
        }
    }
    let mut active = Vec::with_capacity(bottles.len());
    for (identity, containers) in bottles {
        active.extend(describe(engine, identity, &containers).await?);
    }
    Ok(active)
}

/// Nothing of a bottle that has ended while it was looked at.
async fn describe(
    engine: &Engine,
    identity: String,
    containers: &[Labelled],
) -> Result<Option<ActiveBottle>, EngineError> {
    let label = |container: &Labelled, name: &str| container.labels.get(name).cloned().unwrap_or_default();
    let mut running: Vec<String> = containers.iter().map(|container| label(container, LABEL_ROLE)).collect();
    running.sort();
    let first = containers.iter().find(|container| label(container, LABEL_ROLE) == Role::Agent.label());
    let first = first.or(containers.first());
    let Some(first) = first else { return Ok(None) };
    let Some(started) = engine.started(&first.name).await? else { return Ok(None) };
    let said = |name| label(first, name);
    Ok(Some(ActiveBottle {
        identity,
        agent: said(LABEL_AGENT),
        bottle: said(LABEL_BOTTLE),
        backend: "docker",
        started,
        running,
    }))
}

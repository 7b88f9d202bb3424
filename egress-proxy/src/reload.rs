//! Where the table and the secrets come from while the proxy runs, and how a change gets in force: whole or not at all.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use shared::{
    contract::StdinDocument,
    routes::{CredentialSource, Routes},
};
use thiserror::Error;

use crate::{credentials::SecretStore, files, policy::ScanRules, proxy::Proxy};

/// The sources of one running proxy.
pub struct Source {
    routes: Option<PathBuf>,
    rules: ScanRules,
    store: SecretStore,
    seen: Vec<(PathBuf, Option<Stamp>)>,
}

/// What tells that a file is another one now: also a rename into place.
type Stamp = (SystemTime, u64, u64);

impl Source {
    /// Looks at the files before they are read, so that no change between reading and watching is missed.
    pub fn new(routes: Option<PathBuf>, rules: ScanRules, store: SecretStore) -> Self {
        let seen = routes.iter().chain(rules.file()).map(|path| (path.clone(), stamp(path))).collect();
        Self { routes, rules, store, seen }
    }

    pub fn store(&self) -> &SecretStore {
        &self.store
    }

    pub fn rules(&self) -> &ScanRules {
        &self.rules
    }

    /// Watches the files that a table takes its credentials from; to be called before they are read.
    pub fn watch(&mut self, routes: &Routes) {
        for route in routes.iter() {
            let Some(CredentialSource::File(path)) = route.auth.as_ref().map(|auth| &auth.source) else { continue };
            if !self.seen.iter().any(|(seen, _)| seen == path) {
                self.seen.push((path.clone(), stamp(path)));
            }
        }
    }

    /// Whether a file changed since the last call.
    pub fn changed(&mut self) -> bool {
        let seen: Vec<_> = self.seen.iter().map(|(path, _)| (path.clone(), stamp(path))).collect();
        let changed = seen != self.seen;
        self.seen = seen;
        changed
    }

    /// Reads everything again and puts it in force.
    pub fn reload(&mut self, proxy: &Proxy) -> anyhow::Result<()> {
        let routes = match &self.routes {
            Some(path) => files::read_routes(path)?,
            None => proxy.policy.table().routes.clone(),
        };
        self.put_in_force(proxy, routes)
    }

    /// Takes a document from stdin: it replaces what it names.
    pub fn take_document(&mut self, proxy: &Proxy, line: &str) -> anyhow::Result<()> {
        let document = parse_document(line)?;
        anyhow::ensure!(document.ca.is_none(), "the certificate authority cannot be replaced while the proxy runs");
        let routes = match &document.routes {
            Some(routes) => {
                if let Some(path) = &self.routes {
                    return Err(TwoTables(path.clone()).into());
                }
                files::parse_routes(&routes.to_string(), "stdin")?
            }
            None => proxy.policy.table().routes.clone(),
        };
        let rules = document.scan_rules.map_or_else(|| self.rules.clone(), ScanRules::Given);
        let store = self.store.with(document.tokens.unwrap_or_default());
        let former = (std::mem::replace(&mut self.store, store), std::mem::replace(&mut self.rules, rules));
        let put = self.put_in_force(proxy, routes);
        if put.is_err() {
            (self.store, self.rules) = former;
        }
        put
    }

    fn put_in_force(&mut self, proxy: &Proxy, routes: Routes) -> anyhow::Result<()> {
        self.watch(&routes);
        proxy.policy.replace(routes, &self.store, &self.rules)?;
        proxy.live.revoke(&proxy.policy);
        Ok(())
    }
}

/// Routes come from one place, so that no change of one undoes a change of the other unnoticed.
#[derive(Debug, Error)]
#[error("the document on stdin has `routes`, and so has `--routes {}`; give one of the two", .0.display())]
pub struct TwoTables(pub PathBuf);

/// Reads one line of stdin. Errors never repeat it: it holds secrets.
pub fn parse_document(line: &str) -> anyhow::Result<StdinDocument> {
    serde_json::from_str(line)
        .map_err(|error| {
            let (column, what) = (
                error.column(),
                match error.classify() {
                    serde_json::error::Category::Data => "a key or value that does not belong there",
                    _ => "no JSON",
                },
            );
            anyhow::anyhow!("a document on stdin is not valid: column {column}: {what}")
        })
        .context("expected {\"routes\": …, \"ca\": {\"cert\": …, \"key\": …}, \"tokens\": {…}, \"scan_rules\": …} on one line")
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

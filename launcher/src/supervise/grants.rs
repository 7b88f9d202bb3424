//! What the operator has approved on top of the manifest: how it changes the table, and its file in the bottle's state, for
//! `bottle resume`. A route of the manifest is never touched, so no proposal reaches a credential, or loosens a rule that
//! somebody wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::authority::{Host, HostPattern};
use shared::routes::{Match, Route, Routes};
use shared::supervise::Proposal;
use thiserror::Error;

use super::{SuperviseError, read, write};

/// Why the operator is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Objection {
    #[error("the operator approved it before")]
    Granted,
    #[error("the manifest has a route `{route}` for this host, which only its file changes")]
    OfTheManifest { route: String },
}

/// # Errors
/// The manifest speaks of the host, or it is granted already.
pub fn check(manifest: &Routes, granted: &[Proposal], proposal: &Proposal) -> Result<(), Objection> {
    if let Some(route) = manifests_route(manifest, proposal) {
        return Err(Objection::OfTheManifest { route });
    }
    if granted.iter().any(|earlier| earlier.asks_the_same_as(proposal)) {
        return Err(Objection::Granted);
    }
    Ok(())
}

/// The manifest's routes, then one for each host of proposals.
pub fn table(manifest: &Routes, granted: &[Proposal]) -> Routes {
    let mut hosts: BTreeMap<&str, Vec<Match>> = BTreeMap::new();
    // A manifest that was edited since has the last word.
    for proposal in granted.iter().filter(|proposal| manifests_route(manifest, proposal).is_none()) {
        hosts.entry(proposal.host()).or_default().push(proposal.rule());
    }
    let added = hosts.into_iter().filter_map(|(host, rules)| {
        let host: Host = host.parse().ok()?;
        Some(Proposal::route(HostPattern::Exact(host), rules))
    });
    let own = manifest.iter().map(|route| Route::clone(route));
    Routes::new(own.chain(added).collect()).unwrap_or_else(|_repeated| manifest.clone())
}

fn manifests_route(manifest: &Routes, proposal: &Proposal) -> Option<String> {
    let host: Host = proposal.host().parse().ok()?;
    manifest.find(&host).map(|route| route.host.to_string())
}

/// What a bottle's state has; nothing where there is no file.
///
/// # Errors
/// The file cannot be read.
pub fn load(state: &Path) -> Result<Vec<Proposal>, SuperviseError> {
    Ok(read::<Stored>(&path(state))?.map(|stored| stored.granted).unwrap_or_default())
}

/// # Errors
/// The disk refuses.
pub fn save(state: &Path, granted: &[Proposal]) -> Result<(), SuperviseError> {
    write(&path(state), &Stored { schema: Schema::V1, granted: granted.to_vec() })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: Schema,
    granted: Vec<Proposal>,
}

#[derive(Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "bottle-granted/1")]
    V1,
}

fn path(state: &Path) -> PathBuf {
    state.join("granted.json")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use shared::authority::Authority;
    use shared::routes::{Dialect, Scheme, Subject, decode};
    use shared::supervise::Wish;
    use shared::yaml::Diagnostics;

    use super::*;

    fn proposal(host: &str, methods: &[&str], paths: &[&str]) -> Proposal {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let wish = Wish { host: host.into(), methods: own(methods), paths: own(paths), reason: "to test".into() };
        wish.try_into().unwrap()
    }

    fn manifest() -> Routes {
        let text = "routes:\n  - host: api.example.com\n    path_allowlist: [/a/]\n    auth: {scheme: Bearer, token_env: T}\n  \
                    - host: '*.wild.example'\n";
        decode(text, Dialect::Proxy, &mut Diagnostics::default()).unwrap()
    }

    fn allows(routes: &Routes, scheme: Scheme, method: &str, authority: &str, target: &str) -> bool {
        let authority = Authority::parse(authority, scheme.default_port()).unwrap();
        let fields = HeaderMap::new();
        routes.judge(&Subject { scheme, authority: &authority, method, target, fields: &fields }).is_ok()
    }

    #[test]
    fn a_host_of_the_manifest_is_not_put_to_the_operator() {
        let manifest = manifest();
        for host in ["api.example.com", "a.wild.example", "a.b.wild.example"] {
            let objection = check(&manifest, &[], &proposal(host, &[], &[]));
            assert!(matches!(objection, Err(Objection::OfTheManifest { .. })), "{host}: {objection:?}");
        }
        assert_eq!(check(&manifest, &[], &proposal("new.example", &[], &[])), Ok(()));
        let granted = [proposal("new.example", &[], &[])];
        assert_eq!(check(&manifest, &granted, &proposal("new.example", &[], &[])), Err(Objection::Granted));
        assert_eq!(check(&manifest, &granted, &proposal("new.example", &["POST"], &[])), Ok(()));
    }

    #[test]
    fn what_is_granted_is_what_was_asked_and_no_more() {
        let manifest = manifest();
        let granted = [proposal("new.example", &[], &["/v2/"]), proposal("new.example", &["POST"], &["/log"])];
        let table = table(&manifest, &granted);
        for (scheme, method, authority, target, is_granted) in [
            (Scheme::Https, "GET", "new.example", "/v2/a", true),
            (Scheme::Https, "HEAD", "new.example", "/v2/a", true),
            (Scheme::Https, "POST", "new.example", "/log", true),
            (Scheme::Https, "POST", "new.example", "/v2/a", false),
            (Scheme::Https, "GET", "new.example", "/log", false),
            (Scheme::Https, "GET", "new.example", "/", false),
            (Scheme::Https, "GET", "new.example:8443", "/v2/a", false),
            (Scheme::Http, "GET", "new.example", "/v2/a", false),
            (Scheme::Https, "GET", "sub.new.example", "/v2/a", false),
            (Scheme::Https, "GET", "api.example.com", "/b", false),
        ] {
            assert_eq!(allows(&table, scheme, method, authority, target), is_granted, "{method} {authority}{target}");
        }
        let route = table.find(&"new.example".parse().unwrap()).unwrap();
        assert!(route.auth.is_none() && route.keep.is_empty() && route.scan.is_none() && route.inspect.is_none());
    }

    #[test]
    fn a_manifest_that_was_edited_since_has_the_last_word() {
        let granted = [proposal("api.example.com", &[], &[]), proposal("a.wild.example", &["POST"], &[])];
        assert_eq!(table(&manifest(), &granted).to_json(), manifest().to_json());
    }

    #[test]
    fn grants_are_stored_and_read_again() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(load(state.path()).unwrap(), []);
        let granted = [proposal("new.example", &["POST"], &["/v2/"])];
        save(state.path(), &granted).unwrap();
        assert_eq!(load(state.path()).unwrap(), granted);
    }
}

//! The names that the launcher sets and a sidecar reads, and the document that carries routes, CA, secrets and scan rules to the
//! proxy's stdin. Changing one is changing both binaries.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The port of the proxy's outer face, for the agent.
pub const PROXY_PORT: u16 = 9099;
/// The port of the proxy's inner face, for pipelock only.
pub const INNER_FACE_PORT: u16 = 9098;
/// The port of the proxy's admin listener, on its own loopback.
pub const ADMIN_PORT: u16 = 9097;
pub const PIPELOCK_PORT: u16 = 8888;
pub const GIT_GATE_PORT: u16 = 9418;
pub const SUPERVISE_PORT: u16 = 9100;

/// Aliases of the sidecars on their networks.
pub const PROXY_ALIAS: &str = "egress-proxy";
pub const PIPELOCK_ALIAS: &str = "pipelock";
pub const GIT_GATE_ALIAS: &str = "git-gate";
pub const SUPERVISE_ALIAS: &str = "supervise";

/// The host that answers with the live table, through the proxy.
pub const INTROSPECTION_HOST: &str = "_egress-proxy.local";

/// The field that carries an exchange's one-time id past the inspector.
pub const EXCHANGE_FIELD: &str = "x-exchange";
/// The field by which the inspector tells bottles apart in its log.
pub const INSPECTOR_AGENT_FIELD: &str = "x-pipelock-agent";

/// Names of containers and networks are this, a role, and the bottle's identity.
pub const RESOURCE_PREFIX: &str = "claude-bottle";

pub const LABEL_IDENTITY: &str = "claude-bottle.identity";
pub const LABEL_AGENT: &str = "claude-bottle.agent";
pub const LABEL_BOTTLE: &str = "claude-bottle.bottle";
pub const LABEL_ROLE: &str = "claude-bottle.role";
pub const LABEL_VERSION: &str = "claude-bottle.version";

/// The name of the secret that holds the credential of the `index`th distinct `token_ref`.
pub fn token_slot(index: usize) -> String {
    format!("EGRESS_PROXY_TOKEN_{index}")
}

/// The name of the secret that holds the stand-in of the `index`th placeholder.
pub fn placeholder_slot(index: usize) -> String {
    format!("EGRESS_PROXY_PLACEHOLDER_{index}")
}

/// One line of the proxy's stdin (`--stdin`): JSON; what it names replaces what was there, the rest stays.
///
/// It has neither `Debug` nor `Serialize`: it holds the CA's key and every credential. The launcher writes it with
/// [`stdin_line`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdinDocument {
    /// A route table, as in a file: `{"routes": […]}`.
    #[serde(default)]
    pub routes: Option<serde_json::Value>,
    #[serde(default)]
    pub ca: Option<CaPair>,
    /// Secrets by the name that `token_env` and `placeholder` use.
    #[serde(default)]
    pub tokens: Option<BTreeMap<String, String>>,
    /// The text of a rules file for the scan, in place of `--scan-rules`.
    #[serde(default)]
    pub scan_rules: Option<String>,
}

/// A CA's certificate and key, PEM.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaPair {
    pub cert: String,
    pub key: String,
}

/// The line that a [`StdinDocument`] reads, with the line feed.
pub fn stdin_line(
    routes: Option<serde_json::Value>,
    ca: Option<(&str, &str)>,
    tokens: &BTreeMap<String, &str>,
    scan_rules: Option<&str>,
) -> String {
    let mut document = serde_json::Map::new();
    if let Some(routes) = routes {
        document.insert("routes".to_owned(), routes);
    }
    if let Some((cert, key)) = ca {
        document.insert("ca".to_owned(), serde_json::json!({ "cert": cert, "key": key }));
    }
    if !tokens.is_empty() {
        document.insert("tokens".to_owned(), serde_json::json!(tokens));
    }
    if let Some(rules) = scan_rules {
        document.insert("scan_rules".to_owned(), rules.into());
    }
    let mut line = serde_json::Value::Object(document).to_string();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_launcher_writes_the_proxy_reads() {
        let tokens = BTreeMap::from([(token_slot(0), "value")]);
        let line =
            stdin_line(Some(serde_json::json!({ "routes": [] })), Some(("c\n", "k")), &tokens, Some("[extend]\n"));
        assert_eq!(line.matches('\n').count(), 1);
        let document: StdinDocument = serde_json::from_str(&line).unwrap();
        assert_eq!(document.tokens.unwrap()["EGRESS_PROXY_TOKEN_0"], "value");
        assert_eq!(document.ca.unwrap().cert, "c\n");
        assert_eq!(document.scan_rules.unwrap(), "[extend]\n");
    }
}

//! The supervise server in the agent's settings: an MCP server that asks the operator.

use std::io;

use serde_json::json;
use shared::contract::{SUPERVISE_ALIAS, SUPERVISE_PORT};

use super::{Account, at_home};
use crate::archive::{Archive, Facts};
use crate::plan::Supervise;

pub(super) fn add(archive: &mut Archive, account: &Account, supervise: Supervise) -> io::Result<()> {
    if supervise == Supervise::Off {
        return Ok(());
    }
    let url = format!("http://{SUPERVISE_ALIAS}:{SUPERVISE_PORT}/mcp");
    let settings = json!({ "mcpServers": { SUPERVISE_ALIAS: { "type": "http", "url": url } } });
    archive.file(&at_home(account, ".claude.json"), Facts::new(0o600, account.owner), settings.to_string().as_bytes())
}

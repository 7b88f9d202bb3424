//! The tools that an agent sees, and what it is told. Nothing of the operator's but the decision and its words goes out here.

use std::sync::Arc;
use std::time::Duration;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use shared::supervise::{Outcome, Proposal, Wish};

use crate::counter::{Answer, Counter};

/// One MCP session's view of the counter.
#[derive(Clone)]
pub(crate) struct Tools {
    counter: Arc<Counter>,
    patience: Duration,
}

/// What `propose_route` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProposeRoute {
    /// One host name, as in `api.example.com`: no scheme, port, wildcard or IP address.
    host: String,
    /// Of GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE. Left out: GET and HEAD.
    #[serde(default)]
    methods: Vec<String>,
    /// At most 8 path prefixes, by segment, as in `/v2/`. Left out: every path.
    #[serde(default)]
    paths: Vec<String>,
    /// One sentence, which the operator reads: what the route is needed for.
    reason: String,
}

/// What `await_decision` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AwaitDecision {
    /// The number that `propose_route` gave.
    proposal: u32,
}

#[tool_router]
impl Tools {
    pub(crate) fn new(counter: Arc<Counter>, patience: Duration) -> Self {
        Self { counter, patience }
    }

    /// Ask the operator to let this bottle reach one more host, over HTTPS and without a credential. Ask only for what the
    /// task needs, as narrowly as it needs it. Waits for the decision for a while; what is decided already is told at once.
    #[tool]
    async fn propose_route(&self, Parameters(wished): Parameters<ProposeRoute>) -> CallToolResult {
        let ProposeRoute { host, methods, paths, reason } = wished;
        let proposal = match Proposal::try_from(Wish { host, methods, paths, reason }) {
            Ok(proposal) => proposal,
            Err(error) => return failure(format!("not proposed: {error}")),
        };
        match self.counter.hand_in(proposal) {
            Ok(number) => self.decision(number).await,
            Err(error) => failure(format!("not proposed: {error}")),
        }
    }

    /// Wait for the operator's decision about an earlier proposal.
    #[tool]
    async fn await_decision(
        &self,
        Parameters(AwaitDecision { proposal }): Parameters<AwaitDecision>,
    ) -> CallToolResult {
        self.decision(proposal).await
    }

    async fn decision(&self, number: u32) -> CallToolResult {
        match self.counter.wait(number, self.patience).await {
            Ok((proposal, Some(answer))) => told(number, &proposal, &answer),
            Ok((proposal, None)) => success(format!(
                "proposal {number} ({proposal}) waits for the operator; `await_decision` with `proposal: {number}` waits on"
            )),
            Err(error) => failure(error.to_string()),
        }
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("supervise", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }
}

fn told(number: u32, proposal: &Proposal, Answer { outcome, words }: &Answer) -> CallToolResult {
    let words = words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
    match outcome {
        Outcome::Approved => {
            success(format!("proposal {number} was approved{words}: {proposal} can be reached now, in this bottle"))
        }
        Outcome::Rejected => failure(format!(
            "proposal {number} ({proposal}) was rejected by the operator{words}. Do without it, and do not ask again"
        )),
        Outcome::Refused => failure(format!("proposal {number} ({proposal}) was not put to the operator{words}")),
    }
}

fn success(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failure(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

const INSTRUCTIONS: &str = "This bottle reaches only what its operator grants; \
    http://_egress-proxy.local/allowlist shows it. Where the proxy answers 403 because no route names a host, and the task \
    needs that host, propose a route. A person decides, and may not be there.";

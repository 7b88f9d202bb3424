//! What everything of one bottle is called, and the labels it bears. Pure.

use std::path::Path;

use shared::contract::{
    GIT_GATE_ALIAS, LABEL_AGENT, LABEL_BOTTLE, LABEL_IDENTITY, LABEL_ROLE, LABEL_VERSION, PIPELOCK_ALIAS, PROXY_ALIAS,
    RESOURCE_PREFIX, SUPERVISE_ALIAS,
};

use super::engine::Labels;
use crate::plan::Plan;
use crate::state::Identity;

/// What a container or a network is for; the value of the label `claude-bottle.role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Agent,
    EgressProxy,
    GitGate,
    Pipelock,
    Supervise,
    AgentNetwork,
    InspectionNetwork,
    EgressNetwork,
}

impl Role {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::EgressProxy => PROXY_ALIAS,
            Self::GitGate => GIT_GATE_ALIAS,
            Self::Pipelock => PIPELOCK_ALIAS,
            Self::Supervise => SUPERVISE_ALIAS,
            Self::AgentNetwork => "net",
            Self::InspectionNetwork => "inspect",
            Self::EgressNetwork => "egress",
        }
    }

    /// `claude-bottle-IDENTITY` for the agent, `claude-bottle-ROLE-IDENTITY` for the rest.
    pub(super) fn name(self, identity: &Identity) -> String {
        match self {
            Self::Agent => format!("{RESOURCE_PREFIX}-{identity}"),
            _ => format!("{RESOURCE_PREFIX}-{}-{identity}", self.label()),
        }
    }

    /// The labels of one bottle's container or network.
    pub(super) fn labels(self, plan: &Plan) -> Labels {
        let mut labels = self.image_labels();
        labels.insert(LABEL_IDENTITY.to_owned(), plan.identity.to_string());
        labels.insert(LABEL_HOME.to_owned(), home_label(&plan.paths.home));
        labels.insert(LABEL_AGENT.to_owned(), plan.agent.to_string());
        labels.insert(LABEL_BOTTLE.to_owned(), plan.bottle.to_string());
        labels
    }

    /// The labels of an image, which any bottle may use.
    pub(super) fn image_labels(self) -> Labels {
        let pairs = [(LABEL_ROLE, self.label()), (LABEL_VERSION, env!("CARGO_PKG_VERSION"))];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The home as a label's value.
pub(super) fn home_label(home: &Path) -> String {
    home.display().to_string()
}

/// Whose bottle it is: an engine may serve several users, and the lock that tells a live bottle is in its home.
pub(super) const LABEL_HOME: &str = "claude-bottle.home";

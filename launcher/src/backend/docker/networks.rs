//! The bottle's networks. The agent is on one of them only, and that one leads to the proxy and nowhere else.

use ipnet::Ipv4Net;

use super::engine::networks::{Made, Names, Reach};
use super::engine::{Engine, EngineError};
use super::names::Role;
use crate::plan::Plan;

/// The networks of one bottle, by name, with the subnets that the proxy's listeners are bound in.
#[derive(Debug, Clone)]
pub(super) struct Networks {
    pub(super) agent: Network,
    /// Where pipelock and the proxy's inner face meet; only with pipelock.
    pub(super) inspection: Option<Network>,
    /// The proxy's way out.
    pub(super) egress: Network,
}

#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) subnet: Ipv4Net,
}

/// The networks of one bottle, the agent's first.
pub(super) fn roles(plan: &Plan) -> impl Iterator<Item = Role> + use<> {
    let inspection = plan.dlp.asks_pipelock().then_some(Role::InspectionNetwork);
    [Role::AgentNetwork, Role::EgressNetwork].into_iter().chain(inspection)
}

/// Creates those that the agent is not on. All are waited for, whatever fails.
pub(super) async fn create_others(engine: &Engine, plan: &Plan, agent: Network) -> Result<Networks, EngineError> {
    let inspection = async {
        if plan.dlp.asks_pipelock() { Some(create(engine, plan, Role::InspectionNetwork).await) } else { None }
    };
    let (egress, inspection) = tokio::join!(create(engine, plan, Role::EgressNetwork), inspection);
    Ok(Networks { agent, egress: egress?, inspection: inspection.transpose()? })
}

pub(super) async fn create(engine: &Engine, plan: &Plan, role: Role) -> Result<Network, EngineError> {
    let reach = if role == Role::EgressNetwork { Reach::Outside } else { Reach::Members };
    let name = role.name(&plan.identity);
    let Made { subnet, names } = engine.create_network(&name, reach, &role.labels(plan)).await?;
    if role == Role::InspectionNetwork && names == Names::Nobody {
        return Err(EngineError::NoNames { network: name });
    }
    Ok(Network { name, subnet })
}

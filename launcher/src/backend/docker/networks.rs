//! The bottle's networks. The agent is on one of them only, and that one leads to the proxy and nowhere else.

use ipnet::Ipv4Net;

use super::engine::networks::{Made, Names, Reach};
use super::engine::{Engine, EngineError};
use super::names::Role;
use super::teardown::{Created, Thing};
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

pub(super) async fn create(engine: &Engine, plan: &Plan, created: &mut Created) -> Result<Networks, EngineError> {
    let mut roles = vec![Role::AgentNetwork, Role::EgressNetwork];
    if plan.dlp.asks_pipelock() {
        roles.push(Role::InspectionNetwork);
    }
    created.register(roles.iter().map(|role| Thing::Network(role.name(&plan.identity))).collect());
    let inspection = async {
        if plan.dlp.asks_pipelock() { Some(create_one(engine, plan, Role::InspectionNetwork).await) } else { None }
    };
    // All are waited for, whatever fails: a request that is still under way would outlive the teardown.
    let (agent, egress, inspection) = tokio::join!(
        create_one(engine, plan, Role::AgentNetwork),
        create_one(engine, plan, Role::EgressNetwork),
        inspection
    );
    Ok(Networks { agent: agent?, egress: egress?, inspection: inspection.transpose()? })
}

async fn create_one(engine: &Engine, plan: &Plan, role: Role) -> Result<Network, EngineError> {
    let reach = if role == Role::EgressNetwork { Reach::Outside } else { Reach::Members };
    let name = role.name(&plan.identity);
    let Made { subnet, names } = engine.create_network(&name, reach, &role.labels(plan)).await?;
    if role == Role::InspectionNetwork && names == Names::Nobody {
        return Err(EngineError::NoNames { network: name });
    }
    Ok(Network { name, subnet })
}

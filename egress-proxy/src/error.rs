//! Why an exchange was not done, one variant for each stage. `Display` is for the operator; what the client reads and
//! which status it gets is chosen in `respond.rs`.

use shared::authority::Authority;
use thiserror::Error;

use crate::{
    budget::Exhausted,
    credentials::{CredentialError, CredentialSent},
    forward::ForwardError,
    inspect::InspectError,
    live::Revoked,
    mask::EchoError,
    policy::Denied,
    record::JournalClosed,
    scan::Finding,
    target::TargetError,
};

/// The end of an exchange that the proxy answers itself.
#[derive(Debug, Error)]
pub enum ExchangeError {
    #[error("the client's content broke off or could not be read")]
    Content(#[source] hyper::Error),
    #[error("the content ends later than its announced length allows")]
    ContentTooLarge { limit: usize },
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    CredentialSent(#[from] CredentialSent),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Echo(#[from] EchoError),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("the expectation `{0}` is not one the proxy can meet")]
    Expectation(String),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error("gRPC cannot be judged by the inspector")]
    GrpcInspected { route: String },
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Journal(#[from] JournalClosed),
    #[error("the request names {named}, and the tunnel was opened for {tunnel}")]
    Misdirected { named: Authority, tunnel: Authority },
    #[error("CONNECT inside a tunnel")]
    NestedConnect,
    #[error("the field `{0}` belongs to the proxy")]
    OwnField(String),
    #[error(transparent)]
    Revoked(#[from] Revoked),
    #[error("{0}")]
    Scan(Finding),
    #[error("the client sent its content too slowly")]
    Slow,
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("the upgrade to `{0}` is not one the proxy carries")]
    Upgrade(String),
    #[error("WebSocket cannot be judged by the inspector")]
    WebSocketInspected { route: String },
}

/// Any error of a body that a connection carries.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

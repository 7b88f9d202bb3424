//! A forward proxy that ends its clients' TLS, grants what a route table says, scans what is about to leave, asks an
//! inspector, injects credentials and dials. `docs/architecture.md` has the map; `exchange.rs` tells the story.

pub mod accept;
pub mod admin;
pub mod answers;
mod beside;
pub mod budget;
pub mod cli;
pub mod connection;
pub mod content;
pub mod credentials;
pub mod dial;
pub mod discretion;
pub mod error;
pub mod events;
pub mod exchange;
pub mod files;
pub mod forward;
pub mod grpc;
pub mod hop_by_hop;
pub mod inspect;
pub mod intercept;
pub mod learn;
pub mod linger;
pub mod live;
pub mod mask;
pub mod metrics;
pub mod own_fields;
pub mod pace;
pub mod policy;
pub mod proxy;
pub mod record;
pub mod relay;
pub mod reload;
pub mod respond;
pub mod scan;
pub mod settings;
mod socket;
pub mod target;
pub mod tls;
pub mod traffic;
pub mod tunnel;
pub mod upgrade;
#[cfg(feature = "watch")]
pub mod watch;
pub mod websocket;

pub use cli::main;

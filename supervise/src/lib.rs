//! The sidecar by which an agent asks for a route: an MCP server on the agent's network that passes proposals on, one JSON line
//! each, to whoever started it, and waits for answers on its stdin.
//!
//! It decides nothing, changes nothing and holds nothing secret: it faces the agent, so nobody relies on it. What it says
//! is checked again by `bottle`.

mod cli;
pub mod counter;
mod lines;
pub mod server;
mod tools;

pub use self::cli::main;

//! `bottle`: reads a manifest, shows what it grants, and runs the agent in a throw-away bottle.

pub mod archive;
pub mod backend;
pub mod canary;
mod cli;
mod commands;
pub mod diagnostics;
mod exit;
pub mod home;
pub mod host;
mod interrupt;
pub mod manifest;
pub mod name;
pub mod pipelock;
pub mod plan;
pub mod preflight;
pub mod printer;
pub mod provision;
pub mod resolve;
pub mod secret;
pub mod spec;
pub mod state;
pub mod supervise;

pub use cli::main;

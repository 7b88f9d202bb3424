//! Bottles on a real engine, with the programs and images that ship: `target/dist/bottle`, its static `egress-proxy`, and the
//! small agent image. What is missing fails with the line that makes it.

mod bottle;
mod confinement;
mod engine;
#[cfg(feature = "launch-failures")]
mod failures;
mod git_gate;
mod git_host;
mod images;
mod isolation;
mod lifecycle;
#[cfg(feature = "real-pipelock")]
mod pipelock;
mod secrets;
mod selftest;
mod supervise;
mod terminal;
mod trust;

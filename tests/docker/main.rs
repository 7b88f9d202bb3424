//! Bottles on a real engine, with the programs and images that ship: `target/dist/bottle`, its static `egress-proxy`, and the
//! small agent image. What is missing fails with the line that makes it.

mod bottle;
mod confinement;
mod engine;
mod images;
mod isolation;
mod lifecycle;
#[cfg(feature = "real-pipelock")]
mod pipelock;
mod secrets;
mod selftest;
mod terminal;
mod trust;

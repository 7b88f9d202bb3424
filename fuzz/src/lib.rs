//! What must hold for every input, one property for each parser of bytes that a client wrote.
//!
//! A target takes any bytes and panics where its property breaks. The same functions run under libFuzzer
//! (`fuzz/libfuzzer`, nightly) and under [`mutate`] on stable; `fuzz/corpus/NAME` holds inputs that reach what is worth
//! reaching, and every input that once broke something. They are all run by `cargo test`.

mod authority;
mod coding;
mod corpus;
mod fields;
mod grpc;
mod judge;
mod mask;
pub mod mutate;
mod path;
mod pieces;
mod query;
mod routes;
mod rules;
mod scan;
mod target;
mod websocket;

pub use corpus::inputs;

/// One property.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the name of its folder in the corpus.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// Every property, by name.
pub const TARGETS: [Target; 13] = [
    Target { name: "authority", run: authority::run },
    Target { name: "coding", run: coding::run },
    Target { name: "fields", run: fields::run },
    Target { name: "grpc", run: grpc::run },
    Target { name: "judge", run: judge::run },
    Target { name: "mask", run: mask::run },
    Target { name: "path", run: path::run },
    Target { name: "query", run: query::run },
    Target { name: "routes", run: routes::run },
    Target { name: "rules", run: rules::run },
    Target { name: "scan", run: scan::run },
    Target { name: "target", run: target::run },
    Target { name: "websocket", run: websocket::run },
];

/// The property of this name.
pub fn named(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

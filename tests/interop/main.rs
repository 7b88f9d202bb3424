//! The inspection: the stand-in for pipelock held against recordings of the real one, and the proxy asking either.
//!
//! `make interop` runs all of it against the real pipelock, named by `PIPELOCK_BIN`.

mod inspection;
mod recordings;
mod upstream;

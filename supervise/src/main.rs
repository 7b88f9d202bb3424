//! The `supervise` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    supervise::main()
}

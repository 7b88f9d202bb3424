//! The `supervise` program, built here so that tests find it.

fn main() -> std::process::ExitCode {
    supervise::main()
}

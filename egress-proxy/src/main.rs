//! The `egress-proxy` program.

fn main() -> std::process::ExitCode {
    egress_proxy::main()
}

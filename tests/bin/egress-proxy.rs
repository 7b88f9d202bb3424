//! The proxy's program, so that its tests find it built.

fn main() -> std::process::ExitCode {
    egress_proxy::main()
}

//! The `egress-proxy` program.

/// Buffers of some KiB come and go with every exchange and connection: this one takes less time for them than the
/// system's allocator, and keeps less of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    egress_proxy::main()
}

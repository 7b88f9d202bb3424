//! The `bottle` command.

fn main() -> std::process::ExitCode {
    launcher::main()
}

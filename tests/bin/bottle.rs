//! The `bottle` command, built here so that tests find it.

fn main() -> std::process::ExitCode {
    launcher::main()
}

//! The `bottle` command.

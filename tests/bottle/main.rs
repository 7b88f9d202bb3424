//! `bottle` as its user sees it: exit code, stdout and stderr of every verb. No engine, no network, no file outside the
//! test's own folder.

mod check;
mod context;
mod dashboard;
mod docs;
mod doctor;
mod examples;
mod help;
mod init;
mod list;
mod manifest;
mod schema;
mod start;
mod state;

/// Compares an outcome with the recorded one.
macro_rules! assert_outcome {
    ($outcome:expr) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => true }, {
            insta::assert_snapshot!($outcome)
        })
    };
}
pub(crate) use assert_outcome;

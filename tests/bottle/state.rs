//! State between runs: `resume` and what is not there.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn a_bottle_that_was_not_kept_cannot_be_resumed() {
    assert_outcome!(Context::with_agent().run(&["resume", "impl-ab12c"]));
}

#[test]
fn a_damaged_state_is_named() {
    let context = Context::with_agent();
    context.write("user/.claude-bottle/state/impl-ab12c/metadata.json", "{\"schema\": \"bottle-state/9\"}");
    context.write("user/.claude-bottle/state/impl-ab12c/preserve", "");
    assert_outcome!(context.run(&["resume", "impl-ab12c"]));
}

//! `bottle list` and `bottle info`.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn agents_are_listed() {
    let context = Context::with_agent();
    context.agent("second", "---\nbottle: dev\ndescription: Does the other thing\n---\n");
    assert_outcome!(format!("{}{}", context.run(&["list"]), context.run(&["list", "--json"])));
}

#[test]
fn a_home_without_agents_points_to_init() {
    assert_outcome!(Context::new().run(&["list"]));
}

#[test]
fn info_shows_every_grant_with_its_line() {
    let mut context = Context::with_agent();
    context.unset("GH_PAT");
    assert_outcome!(format!("{}{}", context.run(&["info", "impl"]), context.run(&["info", "impl", "--json"])));
}

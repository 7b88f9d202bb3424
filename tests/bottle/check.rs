//! `bottle check`: the judge's verdict, with file and line.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn requests_are_explained() {
    let mut context = Context::with_agent();
    context.unset("GH_PAT"); // no variable is needed
    let requests = [
        ("GET", "https://api.github.com/repos/acme/x?page=2"),
        ("GET", "https://api.github.com/repos/other"),
        ("GET", "https://api.github.com/repos/acme/../other"),
        ("GET", "http://api.github.com/user"),
        ("POST", "https://api.anthropic.com/v1/messages"),
        ("GET", "https://claude.ai"),
        ("GET", "https://registry.example.com/v2/x"),
        ("POST", "https://registry.example.com/v2/x"),
        ("GET", "https://registry.example.com:8443/v2/x"),
        ("GET", "https://evil.example/"),
        ("POST", "https://claude.ai/x.git/git-receive-pack"),
    ];
    let outcomes = requests.iter().map(|(method, url)| context.run(&["check", "impl", method, url]));
    assert_outcome!(outcomes.collect::<Vec<_>>().join("\n"));
}

#[test]
fn verdicts_are_data() {
    let context = Context::with_agent();
    let allowed = context.run(&["check", "impl", "GET", "https://api.github.com/user", "--json"]);
    let refused = context.run(&["check", "impl", "GET", "https://evil.example/", "--json"]);
    assert_outcome!(format!("{allowed}{refused}"));
}

#[test]
fn what_is_no_url_is_refused() {
    let context = Context::with_agent();
    let urls = ["api.github.com", "ftp://api.github.com/", "https://", "https://u@api.github.com/"];
    assert_outcome!(urls.map(|url| context.run(&["check", "impl", "GET", url])).join("\n"));
}

#[test]
fn fields_are_judged_too() {
    let context = Context::with_agent();
    let url = "https://api.github.com/user";
    assert!(context.run(&["check", "impl", "GET", url]).starts_with("exit code: 0\n"));
    let outcome = context.run(&["check", "impl", "GET", url, "-H", "X-Original-URL: /admin"]);
    assert!(outcome.starts_with("exit code: 3\n") && outcome.contains("x-original-url"), "{outcome}");
}

#[test]
fn where_the_agent_may_ask_a_host_that_is_missing_says_so() {
    let context = Context::new();
    context.bottle("dev", "---\nsupervise: true\n---\n");
    context.agent("impl", "---\nbottle: dev\n---\n");
    let said = context.run(&["check", "impl", "GET", "https://docs.example/"]);
    assert!(said.contains("or approve it in `bottle dashboard` when the agent asks"), "{said}");
}

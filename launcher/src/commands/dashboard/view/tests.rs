//! The whole dashboard on a terminal of the test's own: what keys decide, and what is shown of it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::super::Decide;
use super::super::state::{Deed, Heard, Key};
use super::*;
use crate::backend::ActiveBottle;

fn state() -> State {
    let mut state = State::default();
    state.hear(Heard::Bottles(vec![ActiveBottle {
        identity: "implementer-x7k2p".into(),
        agent: "implementer".into(),
        bottle: "dev".into(),
        backend: "docker",
        started: "2026-01-05T09:12:44.108315Z".into(),
        running: vec!["agent".into(), "egress-proxy".into(), "supervise".into()],
    }]));
    for (second, host, status, reason) in
        [(1, "api.github.com", 200, None), (2, "docs.rs", 403, Some("no route names the host `docs.rs`"))]
    {
        let outcome = if status == 200 { "completed" } else { "denied" };
        let record = json!({
            "kind": "exchange", "schema": 1, "id": "370c657fd540c206ad81704500223e77",
            "time": format!("2026-01-05T09:13:{second:02}.57Z"), "method": "GET", "scheme": "https", "host": host,
            "port": 443, "path": "/", "client_protocol": "h2", "outcome": outcome, "status": status, "reason": reason,
            "request_bytes": 0, "response_bytes": 1, "total_ms": 1.5,
        });
        state.hear(Heard::Exchange(Exchange::of("implementer-x7k2p", &record.to_string()).unwrap()));
    }
    state.hear(Heard::Waiting(vec![waiting(1, "docs.rs", &["/hyper/"]), waiting(2, "crates.example", &[])]));
    state
}

fn waiting(number: u32, host: &str, paths: &[&str]) -> (Proposed, Waiting) {
    let wish = json!({"host": host, "paths": paths, "reason": "to read the documentation of hyper"});
    let one = Waiting::new(number, "2026-01-05T09:13:03Z".into(), serde_json::from_value(wish).unwrap());
    (Proposed { identity: "implementer-x7k2p".parse().unwrap(), number }, one)
}

fn shown(state: &State) -> String {
    shown_on(state, 100, 16)
}

fn shown_on(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content.chunks(usize::from(buffer.area.width));
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    lines.map(|cells| line(cells).trim_end().to_owned() + "\n").collect()
}

#[test]
fn the_page_about_the_command_line_shows_what_the_terminal_shows() {
    let shown: String =
        shown(&state()).lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
    let page = include_str!("../../../../../docs/cli.md");
    assert!(page.contains(&shown), "docs/cli.md should show:\n{shown}");
}

#[test]
fn a_decision_takes_two_keys_and_is_about_what_was_selected() {
    let mut state = state();
    assert_eq!(state.press(Key::Down), Deed::Nothing);
    assert_eq!(state.press(Key::Character('a')), Deed::Nothing);
    assert!(shown(&state).contains("approve implementer-x7k2p/2? y/n"), "{}", shown(&state));
    // Another one comes in above it, and the first goes.
    state.hear(Heard::Waiting(vec![
        waiting(1, "docs.rs", &[]),
        waiting(2, "crates.example", &[]),
        waiting(3, "c.example", &[]),
    ]));
    state.hear(Heard::Waiting(vec![waiting(2, "crates.example", &[]), waiting(3, "c.example", &[])]));
    let (proposed, _) = waiting(2, "crates.example", &[]);
    assert_eq!(
        state.press(Key::Character('y')),
        Deed::Decide(Decide { proposed, verdict: Verdict::Approve, words: None })
    );
    for other in [Key::Character('n'), Key::Escape, Key::Character('a'), Key::Down] {
        state.press(Key::Character('r'));
        assert_eq!(state.press(other), Deed::Nothing, "{other:?}");
        assert_eq!(state.press(Key::Character('y')), Deed::Nothing, "{other:?}");
    }
}

#[test]
fn a_question_about_what_no_longer_waits_is_withdrawn() {
    let mut state = state();
    state.press(Key::Character('a'));
    state.hear(Heard::Waiting(vec![waiting(2, "crates.example", &[])]));
    assert_eq!(state.press(Key::Character('y')), Deed::Nothing);
    assert!(!shown(&state).contains("? y/n"));
}

#[test]
fn only_what_did_not_go_through_is_shown_on_demand() {
    let mut state = state();
    state.press(Key::Character('d'));
    let text = shown(&state);
    assert!(text.contains("no route names the host") && !text.contains("api.github.com"), "{text}");
    assert_eq!(state.press(Key::Character('q')), Deed::Quit);
}

#[test]
fn every_word_of_the_longest_proposal_is_in_sight_on_a_small_terminal() {
    let mut state = state();
    let paths: Vec<String> = (0..8).map(|index| format!("/{index}{}", "p".repeat(35))).collect();
    let label = "h".repeat(60);
    let host = format!("{label}.{label}.{label}.{label}.example");
    let (proposed, _) = waiting(1, "a.example", &[]);
    let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
    let reason = format!("{}終", "検".repeat(199));
    let wish = json!({"host": host, "methods": methods, "paths": paths, "reason": reason});
    let one = Waiting::new(1, String::new(), serde_json::from_value(wish).unwrap());
    state.hear(Heard::Waiting(vec![(proposed, one)]));
    state.press(Key::Character('a'));
    let text = shown_on(&state, 80, 24);
    for words in ["h.example", "DELETE", "/7ppp", "終", "approve implementer-x7k2p/1? y/n"] {
        assert!(text.contains(words), "no `{words}` in\n{text}");
    }
}

#[test]
fn a_record_steers_no_terminal() {
    let record = json!({
        "kind": "tunnel", "schema": 1, "id": "i", "time": "2026-01-05T09:13:01Z", "authority": "a\u{1b}[2J\u{202e}b:443",
        "outcome": "denied", "reason": "two\nlines", "exchanges": 0, "total_ms": 1.0,
    });
    let exchange = Exchange::of("a-00000", &record.to_string()).unwrap();
    assert_eq!(exchange.request, "CONNECT a\u{fffd}[2J\u{fffd}b:443");
    assert_eq!(exchange.reason, "two lines");
}

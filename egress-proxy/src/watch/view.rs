//! How it looks: a list, the details of one line below it, a line of keys.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState},
};
use shared::record::Outcome;

use super::state::{Mode, State};

/// Draws everything.
pub fn draw(state: &mut State, frame: &mut Frame<'_>) {
    let detail = if state.is_detailed { Constraint::Percentage(60) } else { Constraint::Length(0) };
    let areas = Layout::vertical([Constraint::Length(1), Constraint::Min(3), detail, Constraint::Length(1)]);
    let [top, list, detail, bottom] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(title(state)), top);
    draw_list(state, frame, list);
    if state.is_detailed {
        draw_detail(state, frame, detail);
    }
    frame.render_widget(Paragraph::new(keys(state)), bottom);
}

fn title(state: &State) -> Line<'_> {
    let mut parts = vec![Span::styled("egress-proxy watch ", Style::new().add_modifier(Modifier::BOLD))];
    parts.push(Span::raw(format!("{}  {} of {}", state.source, state.rows().len(), state.len())));
    if state.is_paused {
        parts.push(Span::styled(format!("  paused, {} waiting", state.waiting.len()), Style::new().fg(Color::Yellow)));
    } else if state.is_following {
        parts.push(Span::raw("  following"));
    }
    if state.lost > 0 {
        parts.push(Span::styled(format!("  {} lost", state.lost), Style::new().fg(Color::Red)));
    }
    if !state.standing.is_empty() {
        parts.push(Span::styled(format!("  {}", state.standing), Style::new().fg(Color::Red)));
    }
    Line::from(parts)
}

fn draw_list(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let row = |row: &super::row::Row| {
        let number = |text: String| Cell::from(Line::from(text).right_aligned());
        Row::new([
            Cell::from(row.time.clone()),
            Cell::from(row.status.clone()),
            Cell::from(row.method.clone()),
            Cell::from(row.what.clone()),
            Cell::from(row.how.clone()),
            number(bytes(row.up)),
            number(bytes(row.down)),
            number(format!("{:.1}", row.milliseconds)),
        ])
        .style(Style::new().fg(colour(row.outcome)))
    };
    let widths = [
        Constraint::Length(8),
        Constraint::Length(4),
        Constraint::Length(7),
        Constraint::Fill(1),
        Constraint::Length(24),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(9),
    ];
    let head = ["time", "", "method", "what", "how", "up", "down", "ms"];
    let table = Table::new(state.rows().map(row), widths)
        .header(Row::new(head).style(Style::new().add_modifier(Modifier::DIM)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut selection = TableState::new().with_selected(state.selected());
    frame.render_stateful_widget(table, area, &mut selection);
}

fn draw_detail(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let details = state.selected_row().map(|row| row.details.as_slice()).unwrap_or_default();
    let width = details.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): &(String, String)| {
        let name = Span::styled(format!("{name:width$}  "), Style::new().add_modifier(Modifier::DIM));
        Line::from(vec![name, Span::raw(value.clone())])
    };
    let block = Block::new().borders(Borders::TOP).title(" record ");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    // Sentences have the whole width; what else does not fit into one column goes into a second.
    let (sentences, words): (Vec<_>, Vec<_>) = details.iter().partition(|(name, _)| SENTENCES.contains(&name.as_str()));
    let areas = Layout::vertical([Constraint::Length(sentences.len() as u16), Constraint::Fill(1)]);
    let [above, below] = areas.areas(inside);
    frame.render_widget(Paragraph::new(sentences.into_iter().map(line).collect::<Vec<_>>()), above);
    let columns = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2).split(below);
    for (lines, column) in words.chunks(usize::from(below.height).max(1)).zip(columns.iter()) {
        frame.render_widget(Paragraph::new(lines.iter().copied().map(line).collect::<Vec<_>>()), *column);
    }
}

fn keys(state: &State) -> Line<'_> {
    if state.mode == Mode::Filter {
        return Line::from(format!("/{}▏  words that must be there, !words that must not", state.filter));
    }
    let filter = if state.filter.is_empty() { String::new() } else { format!("filter `{}`   ", state.filter) };
    Line::from(format!("{filter}↑↓ select   enter details   / filter   p pause   f follow   q quit"))
}

fn colour(outcome: Outcome) -> Color {
    match outcome {
        Outcome::Completed => Color::Green,
        Outcome::Denied | Outcome::Blocked => Color::Red,
        Outcome::Failed => Color::Yellow,
        Outcome::Aborted => Color::DarkGray,
    }
}

/// Members whose values are long.
const SENTENCES: [&str; 2] = ["findings", "reason"];

/// A number of bytes in five places.
fn bytes(count: u64) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, letter)) => format!("{:.1}{letter}", count as f64 / unit as f64),
        None => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::*;
    use crate::watch::{Heard, state::Key};

    fn hear(state: &mut State, record: serde_json::Value) {
        let record = serde_json::from_value(record).unwrap();
        state.hear(Heard::Record(Box::new(record)));
    }

    fn state() -> State {
        let mut state = State::new("127.0.0.1:9097".to_owned());
        let exchange = |method: &str, host: &str, path: &str, second: u8| {
            json!({
                "kind": "exchange", "schema": 1, "id": "370c657fd540c206ad81704500223e77",
                "time": format!("2026-11-21T16:05:{second:02}.57Z"), "method": method, "scheme": "https", "host": host,
                "port": 443, "path": path, "client_protocol": "h2", "outcome": "completed", "status": 200,
                "verdict": "allowed", "route": host, "rule": "any", "request_bytes": 0, "response_bytes": 5_312,
                "total_ms": 41.25,
            })
        };
        hear(&mut state, exchange("GET", "api.github.com", "/repos/acme/app/pulls", 1));
        let mut model = exchange("POST", "api.anthropic.com", "/v1/messages", 2);
        (model["request_bytes"], model["response_bytes"], model["total_ms"]) =
            (json!(81_920), json!(12_400), json!(2301.7));
        hear(&mut state, model);
        let mut denied = exchange("GET", "example.com", "/", 3);
        for (name, value) in [
            ("outcome", "denied"),
            ("verdict", "denied"),
            ("by", "policy"),
            ("error", "host_unlisted"),
            ("proxy_error", "http_request_denied"),
            ("reason", "no route names the host `example.com`"),
        ] {
            denied[name] = json!(value);
        }
        (denied["status"], denied["response_bytes"], denied["total_ms"]) = (json!(403), json!(222), json!(0.4));
        denied.as_object_mut().unwrap().retain(|name, _| name != "route" && name != "rule");
        hear(&mut state, denied);
        state
    }

    fn shown(state: &mut State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| draw(state, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content.chunks(usize::from(buffer.area.width));
        let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
        lines.map(|cells| line(cells).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn the_page_about_debugging_shows_what_the_terminal_shows() {
        let mut state = state();
        state.press(Key::Enter);
        let shown: String =
            shown(&mut state).lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
        let page = include_str!("../../../docs/debugging.md");
        assert!(page.contains(&shown), "docs/debugging.md should show:\n{shown}");
    }

    #[test]
    fn a_filter_takes_words_that_must_and_words_that_must_not_be_there() {
        let mut state = state();
        for key in "/github".chars().map(Key::Character).chain([Key::Enter]) {
            assert!(state.press(key));
        }
        assert!(shown(&mut state).contains("1 of 3") && !shown(&mut state).contains("anthropic"));
        state.press(Key::Escape);
        for key in "/!completed".chars().map(Key::Character).chain([Key::Enter]) {
            state.press(key);
        }
        let text = shown(&mut state);
        assert!(text.contains("example.com") && !text.contains("github"), "{text}");
        assert!(!state.press(Key::Character('q')));
    }

    #[test]
    fn a_pause_keeps_what_comes_for_later() {
        let mut state = state();
        state.press(Key::Character('p'));
        let tunnel = json!({
            "kind": "tunnel", "schema": 1, "id": "i", "time": "2026-11-21T16:05:04Z", "authority": "late.example:443",
            "outcome": "completed", "exchanges": 1, "total_ms": 1.0,
        });
        hear(&mut state, tunnel);
        let text = shown(&mut state);
        assert!(text.contains("paused, 1 waiting") && !text.contains("late.example"), "{text}");
        state.press(Key::Character('p'));
        assert!(shown(&mut state).contains("late.example"));
    }

    #[test]
    fn what_was_lost_is_told_and_controls_do_nothing() {
        let mut state = State::new("x".to_owned());
        state.hear(Heard::Lost(7));
        hear(
            &mut state,
            json!({
                "kind": "tunnel", "schema": 1, "id": "i", "time": "t", "authority": "a\u{1b}[2J\u{202e}b:443",
                "outcome": "denied", "exchanges": 0, "total_ms": 1.0,
            }),
        );
        let text = shown(&mut state);
        assert!(text.contains("7 lost") && text.contains("a\u{fffd}[2J\u{fffd}b:443"), "{text}");
    }

    #[test]
    fn going_up_stops_following_and_end_takes_it_up_again() {
        let mut state = state();
        assert_eq!(state.selected(), Some(2));
        state.press(Key::Up);
        assert!(!state.is_following && state.selected() == Some(1));
        state.press(Key::End);
        assert!(state.is_following && state.selected() == Some(2));
    }
}

//! How it looks: bottles, exchanges, proposals with the whole of the selected one, a line of keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};
use shared::record::Outcome;

use super::Proposed;
use super::exchange::Exchange;
use super::state::{State, View};
use crate::supervise::{Verdict, Waiting};

pub(super) fn draw(state: &State, frame: &mut Frame<'_>) {
    let bottles = u16::try_from(state.bottles.len().clamp(1, MOST_BOTTLES)).unwrap_or(1) + 2;
    let proposals = u16::try_from(state.waiting.len().clamp(1, MOST_PROPOSALS)).unwrap_or(1) + 2;
    let selected = state.place().and_then(|place| state.waiting.get(place));
    let details = selected.map(|(_, one)| details(one, frame.area().width)).unwrap_or_default();
    let areas = Layout::vertical([
        Constraint::Length(bottles),
        Constraint::Fill(1),
        Constraint::Length(proposals),
        Constraint::Length(u16::try_from(details.len()).unwrap_or(u16::MAX)),
        Constraint::Length(1),
    ]);
    let [top, middle, queue, detail, bottom] = areas.areas(frame.area());
    frame.render_widget(bottles_table(state), top);
    draw_exchanges(state, frame, middle);
    draw_proposals(state, frame, queue);
    frame.render_widget(Paragraph::new(details), detail);
    frame.render_widget(Paragraph::new(last_line(state)), bottom);
}

fn bottles_table(state: &State) -> Table<'_> {
    let rows = state.bottles.iter().map(|bottle| {
        Row::new([
            Cell::from(bottle.identity.as_str()),
            Cell::from(bottle.bottle.as_str()),
            Cell::from(bottle.started.get(..16).unwrap_or(&bottle.started)),
            Cell::from(bottle.running.join(" ")),
        ])
    });
    let widths = [Constraint::Fill(2), Constraint::Fill(1), Constraint::Length(16), Constraint::Fill(3)];
    Table::new(rows, widths).block(titled(format!(" bottles: {} ", state.bottles.len())))
}

fn draw_exchanges(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let (title, is_shown): (_, fn(&&Exchange) -> bool) = match state.view {
        View::All => (" exchanges ", |_| true),
        View::Refused => (" exchanges that did not go through ", |one| one.outcome != Outcome::Completed),
    };
    let block = titled(title.to_owned());
    let height = usize::from(block.inner(area).height);
    let shown: Vec<&Exchange> = state.exchanges.iter().filter(is_shown).collect();
    let rows = shown[shown.len().saturating_sub(height)..].iter().map(|one| {
        Row::new([
            Cell::from(one.time_of_day()),
            Cell::from(one.identity.as_str()),
            Cell::from(Span::styled(if one.status.is_empty() { "---" } else { &one.status }, colour(one.outcome))),
            Cell::from(one.request.as_str()),
            Cell::from(one.reason.as_str()),
        ])
    });
    let widths =
        [Constraint::Length(8), Constraint::Fill(1), Constraint::Length(3), Constraint::Fill(2), Constraint::Fill(2)];
    frame.render_widget(Table::new(rows, widths).block(block), area);
}

fn draw_proposals(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let row = |(proposed, waiting): &(Proposed, Waiting)| {
        Row::new([Cell::from(proposed.to_string()), Cell::from(waiting.proposal.to_string())])
    };
    let table = Table::new(state.waiting.iter().map(row), [Constraint::Fill(1), Constraint::Fill(3)])
        .block(titled(format!(" proposals: {} ", state.waiting.len())))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(state.place()));
}

/// Every word of a proposal, in lines of this width: none may be out of sight when it is decided.
fn details(waiting: &Waiting, width: u16) -> Vec<Line<'static>> {
    let proposal = &waiting.proposal;
    let fields = [
        ("host", proposal.host().to_owned()),
        ("methods", proposal.methods().join(" ")),
        ("paths", proposal.paths().join(" ")),
        ("the agent says", proposal.reason().to_owned()),
    ];
    let room = usize::from(width).saturating_sub(LABEL).max(1);
    let lines = fields.into_iter().flat_map(|(name, value)| {
        let parts = cut(&value, room).into_iter().enumerate();
        parts.map(move |(index, part)| {
            let label = format!("{:LABEL$}", if index == 0 { name } else { "" });
            Line::from(vec![Span::styled(label, Color::DarkGray), part.into()])
        })
    });
    lines.collect()
}

/// The text in parts of at most `room` columns.
fn cut(text: &str, room: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut taken = 0;
    for c in text.chars() {
        let width = Span::raw(c.to_string()).width();
        if taken + width > room {
            parts.push(String::new());
            taken = 0;
        }
        taken += width;
        parts.last_mut().into_iter().for_each(|part| part.push(c));
    }
    parts
}

fn last_line(state: &State) -> Line<'_> {
    if let Some(asked) = &state.asked {
        let verb = match asked.verdict {
            Verdict::Approve => "approve",
            Verdict::Reject => "reject",
        };
        return Line::styled(format!("{verb} {}? y/n", asked.proposed), Modifier::BOLD);
    }
    let told = if state.told.is_empty() { String::new() } else { format!("{}   ", state.told) };
    Line::from(format!("{told}↑↓ select   a approve   r reject   d refused only   q quit"))
}

fn titled(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title)
}

fn colour(outcome: Outcome) -> Color {
    match outcome {
        Outcome::Completed => Color::Green,
        Outcome::Denied | Outcome::Blocked => Color::Red,
        Outcome::Failed => Color::Yellow,
        Outcome::Aborted => Color::DarkGray,
    }
}

const MOST_BOTTLES: usize = 8;
const MOST_PROPOSALS: usize = 8;
const LABEL: usize = "the agent says".len() + 2;

#[cfg(test)]
mod tests;

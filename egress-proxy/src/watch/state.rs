//! What is shown: records, filter, selection. Pure: keys and records in, no terminal.

use std::collections::VecDeque;

use super::{Heard, row::Row};
use crate::record::pretty::printable;

/// Records that are kept.
const KEPT: usize = 10_000;
/// How far a page goes.
const PAGE: usize = 10;

/// A key, as far as one means anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    Backspace,
    Character(char),
    Down,
    End,
    Enter,
    Escape,
    Home,
    Interrupt,
    PageDown,
    PageUp,
    Up,
}

/// What keys do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// They are written into the filter.
    Filter,
    List,
}

/// Everything that is shown.
#[derive(Debug)]
pub struct State {
    pub source: String,
    pub standing: String,
    pub mode: Mode,
    pub filter: String,
    pub lost: u64,
    pub is_detailed: bool,
    pub is_following: bool,
    pub is_paused: bool,
    /// Came while nothing was to move.
    pub waiting: VecDeque<Row>,
    rows: VecDeque<Row>,
    /// Places in `rows` that the filter lets through.
    shown: Vec<usize>,
    selected: usize,
}

impl State {
    pub fn new(source: String) -> Self {
        Self {
            source,
            standing: String::new(),
            mode: Mode::List,
            filter: String::new(),
            lost: 0,
            is_detailed: false,
            is_following: true,
            is_paused: false,
            waiting: VecDeque::new(),
            rows: VecDeque::new(),
            shown: Vec::new(),
            selected: 0,
        }
    }

    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Lost(count) => self.lost += count,
            Heard::Standing(text) => self.standing = printable(&text).into_owned(),
            Heard::Record(record) => {
                let row = Row::of(&record);
                if self.is_paused {
                    bounded(&mut self.waiting, row);
                } else {
                    self.add(row);
                }
            }
        }
    }

    /// Does what a key means; `false` when the user has seen enough.
    pub fn press(&mut self, key: Key) -> bool {
        match (self.mode, key) {
            (_, Key::Interrupt) | (Mode::List, Key::Character('q')) => return false,
            (Mode::Filter, Key::Character(character)) => self.change_filter(|filter| filter.push(character)),
            (Mode::Filter, Key::Backspace) => {
                self.change_filter(|filter| filter.truncate(filter.char_indices().next_back().map_or(0, |(at, _)| at)))
            }
            (Mode::Filter, Key::Enter) => self.mode = Mode::List,
            (Mode::Filter, Key::Escape) => {
                self.change_filter(String::clear);
                self.mode = Mode::List;
            }
            (Mode::List, Key::Character('/')) => self.mode = Mode::Filter,
            (Mode::List, Key::Character('f')) => self.follow(!self.is_following),
            (Mode::List, Key::Character('p' | ' ')) => self.pause(!self.is_paused),
            (Mode::List, Key::Enter) => self.is_detailed = !self.is_detailed,
            (Mode::List, Key::Escape) if self.is_detailed => self.is_detailed = false,
            (Mode::List, Key::Escape) => self.change_filter(String::clear),
            (_, Key::Up) | (Mode::List, Key::Character('k')) => self.select(self.selected.saturating_sub(1)),
            (_, Key::Down) | (Mode::List, Key::Character('j')) => self.select(self.selected + 1),
            (_, Key::PageUp) => self.select(self.selected.saturating_sub(PAGE)),
            (_, Key::PageDown) => self.select(self.selected + PAGE),
            (_, Key::Home) | (Mode::List, Key::Character('g')) => self.select(0),
            (_, Key::End) | (Mode::List, Key::Character('G')) => self.follow(true),
            (Mode::List, Key::Character(_) | Key::Backspace) => {}
        }
        true
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.shown.iter().map(|place| &self.rows[*place])
    }

    pub fn selected(&self) -> Option<usize> {
        (!self.shown.is_empty()).then_some(self.selected)
    }

    pub fn selected_row(&self) -> Option<&Row> {
        self.shown.get(self.selected).map(|place| &self.rows[*place])
    }

    /// How many there are, whatever the filter says.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    fn add(&mut self, row: Row) {
        if bounded(&mut self.rows, row) {
            // Every place moved by one; the first is gone.
            let first_was_shown = self.shown.first() == Some(&0);
            self.shown.retain(|place| *place > 0);
            self.shown.iter_mut().for_each(|place| *place -= 1);
            self.selected -= usize::from(first_was_shown && self.selected > 0);
        }
        let last = self.rows.len() - 1;
        if self.rows[last].fits(&self.filter) {
            self.shown.push(last);
        }
        if self.is_following {
            self.selected = self.shown.len().saturating_sub(1);
        }
    }

    fn change_filter(&mut self, change: impl FnOnce(&mut String)) {
        let selected = self.shown.get(self.selected).copied();
        change(&mut self.filter);
        self.shown = (0..self.rows.len()).filter(|place| self.rows[*place].fits(&self.filter)).collect();
        let again = selected.and_then(|place| self.shown.iter().position(|shown| *shown == place));
        self.selected = again.unwrap_or(self.shown.len().saturating_sub(1));
    }

    fn select(&mut self, selected: usize) {
        let last = self.shown.len().saturating_sub(1);
        self.selected = selected.min(last);
        self.is_following = self.selected == last && self.is_following;
    }

    fn follow(&mut self, is_following: bool) {
        self.is_following = is_following;
        if is_following {
            self.selected = self.shown.len().saturating_sub(1);
        }
    }

    fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        if !is_paused {
            for row in std::mem::take(&mut self.waiting) {
                self.add(row);
            }
        }
    }
}

/// Adds a row; whether the oldest had to go for it.
fn bounded(rows: &mut VecDeque<Row>, row: Row) -> bool {
    let is_full = rows.len() == KEPT;
    if is_full {
        rows.pop_front();
    }
    rows.push_back(row);
    is_full
}

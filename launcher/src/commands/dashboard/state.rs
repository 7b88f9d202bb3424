//! What is shown, and what keys mean. Pure: what was heard and keys in, no terminal.

use std::collections::VecDeque;

use super::exchange::Exchange;
use super::{Decide, Proposed};
use crate::backend::ActiveBottle;
use crate::supervise::{Verdict, Waiting};

/// What the dashboard hears.
pub(super) enum Heard {
    Bottles(Vec<ActiveBottle>),
    Exchange(Exchange),
    /// What waits, all of it.
    Waiting(Vec<(Proposed, Waiting)>),
    /// A line for the operator.
    Told(String),
}

/// A key, as far as one means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Character(char),
    Down,
    Escape,
    Interrupt,
    Up,
}

/// What a key brings about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Decide(Decide),
    Nothing,
    Quit,
}

/// Everything that is shown.
#[derive(Default)]
pub(super) struct State {
    pub(super) bottles: Vec<ActiveBottle>,
    pub(super) exchanges: VecDeque<Exchange>,
    pub(super) waiting: Vec<(Proposed, Waiting)>,
    /// By what it is, not by its place: what comes and goes beside it must not change what a key decides.
    selected: Option<Proposed>,
    /// The decision that a further key confirms.
    pub(super) asked: Option<Decide>,
    pub(super) told: String,
    pub(super) view: View,
}

/// Which exchanges are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum View {
    #[default]
    All,
    /// Those that did not go through.
    Refused,
}

impl State {
    pub(super) fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Bottles(bottles) => self.bottles = bottles,
            Heard::Exchange(exchange) => {
                if self.exchanges.len() == KEPT {
                    self.exchanges.pop_front();
                }
                self.exchanges.push_back(exchange);
            }
            Heard::Told(line) => self.told = line,
            Heard::Waiting(waiting) => {
                self.waiting = waiting;
                if self.place().is_none() {
                    self.selected = self.waiting.first().map(|(proposed, _)| proposed.clone());
                }
                let is_gone = |asked: &Decide| !self.waiting.iter().any(|(proposed, _)| *proposed == asked.proposed);
                if self.asked.as_ref().is_some_and(is_gone) {
                    self.asked = None;
                }
            }
        }
    }

    pub(super) fn press(&mut self, key: Key) -> Deed {
        if key == Key::Interrupt {
            return Deed::Quit;
        }
        if let Some(asked) = self.asked.take() {
            return if key == Key::Character('y') { Deed::Decide(asked) } else { Deed::Nothing };
        }
        match key {
            Key::Character('q') | Key::Interrupt => return Deed::Quit,
            Key::Character('a') => self.ask(Verdict::Approve),
            Key::Character('r') => self.ask(Verdict::Reject),
            Key::Character('d') => {
                self.view = if self.view == View::All { View::Refused } else { View::All };
            }
            Key::Down | Key::Character('j') => self.select(|place| place + 1),
            Key::Up | Key::Character('k') => self.select(|place| place.saturating_sub(1)),
            Key::Character(_) | Key::Escape => {}
        }
        Deed::Nothing
    }

    /// Where in `waiting` the selected proposal stands.
    pub(super) fn place(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.waiting.iter().position(|(proposed, _)| proposed == selected)
    }

    fn select(&mut self, from: impl FnOnce(usize) -> usize) {
        let last = self.waiting.len().saturating_sub(1);
        let place = from(self.place().unwrap_or_default()).min(last);
        self.selected = self.waiting.get(place).map(|(proposed, _)| proposed.clone());
    }

    fn ask(&mut self, verdict: Verdict) {
        self.asked = self.selected.clone().map(|proposed| Decide { proposed, verdict, words: None });
    }
}

/// Exchanges that are kept.
const KEPT: usize = 1000;

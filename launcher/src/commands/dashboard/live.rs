//! The live dashboard: one thread listens to engine and queues, one to the terminal, and this one draws what is new.

use std::collections::BTreeMap;
use std::iter;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use super::exchange::Exchange;
use super::state::{Deed, Heard, Key, State};
use super::{DashboardError, Decide, decide, told, view, waiting};
use crate::backend::docker::Docker;
use crate::backend::{Backend, Extent};
use crate::commands::block_on;
use crate::diagnostics::Failure;
use crate::home::Home;
use crate::printer::one_line;

/// Shows until the user has seen enough.
///
/// # Errors
/// There is no terminal, or it cannot be used.
pub(super) fn show(backend: Docker, home: Home) -> Result<(), Failure> {
    let (put, news) = mpsc::channel();
    let (decisions, wanted) = unbounded_channel();
    let mut terminal = ratatui::try_init().map_err(DashboardError::Terminal)?;
    // Both end with the process: they hold nothing that must be put away.
    let keys = put.clone();
    thread::spawn(move || read_terminal(&keys));
    thread::spawn(move || {
        block_on(async {
            listen(&backend, &home, put, wanted).await;
            Ok(())
        })
    });
    let shown = run(&mut terminal, &news, &decisions);
    let restored = ratatui::try_restore();
    Ok(shown.and(restored).map_err(DashboardError::Terminal)?)
}

/// What there is to draw anew for.
enum News {
    Heard(Heard),
    /// A key, or another size.
    Terminal(Event),
}

/// Waits for news and draws; while there is none it does nothing.
fn run(
    terminal: &mut DefaultTerminal,
    news: &Receiver<News>,
    decisions: &UnboundedSender<Decide>,
) -> std::io::Result<()> {
    let mut state = State::default();
    loop {
        terminal.draw(|frame| view::draw(&state, frame))?;
        let Ok(first) = news.recv() else { return Ok(()) };
        for news in iter::once(first).chain(news.try_iter()) {
            let deed = match news {
                News::Heard(heard) => {
                    state.hear(heard);
                    Deed::Nothing
                }
                News::Terminal(Event::Key(pressed)) => key(pressed).map_or(Deed::Nothing, |key| state.press(key)),
                News::Terminal(_) => Deed::Nothing,
            };
            match deed {
                Deed::Nothing => {}
                Deed::Quit => return Ok(()),
                Deed::Decide(wanted) => drop(decisions.send(wanted)), // who listens outlives this loop
            }
        }
    }
}

/// Passes on what the terminal sends, until it is gone or nobody listens.
fn read_terminal(put: &Sender<News>) {
    while event::read().is_ok_and(|event| put.send(News::Terminal(event)).is_ok()) {}
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char(character) if !control => Key::Character(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    })
}

/// Tells what goes on until nobody listens any more.
async fn listen(backend: &Docker, home: &Home, put: Sender<News>, mut wanted: UnboundedReceiver<Decide>) {
    let mut followed: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    let mut deciding = JoinSet::new();
    let (mut known_bottles, mut known_waiting) = (vec![], vec![]);
    let (mut engine, mut queues) = (interval(BETWEEN_LISTS), interval(BETWEEN_LOOKS));
    loop {
        let heard = tokio::select! {
            _ = engine.tick() => match backend.list_active().await {
                Ok(bottles) => {
                    followed.retain(|_, following| !following.is_finished());
                    for bottle in &bottles {
                        let follow = || tokio::spawn(follow(backend.clone(), bottle.identity.clone(), put.clone()));
                        followed.entry(bottle.identity.clone()).or_insert_with(follow);
                    }
                    if bottles == known_bottles {
                        continue;
                    }
                    known_bottles.clone_from(&bottles);
                    Heard::Bottles(bottles)
                }
                Err(error) => Heard::Told(one_line(&error.to_string())),
            },
            _ = queues.tick() => match waiting(home) {
                Ok(waiting) if waiting == known_waiting => continue,
                Ok(waiting) => {
                    known_waiting.clone_from(&waiting);
                    Heard::Waiting(waiting)
                }
                Err(failure) => Heard::Told(one_line(failure.render().trim_end())),
            },
            Some(wanted) = wanted.recv() => {
                let home = home.clone();
                deciding.spawn(async move {
                    let line = match decide(&home, &wanted).await {
                        Ok(settled) => told(&wanted.proposed, &settled),
                        Err(failure) => failure.render().trim_end().to_owned(),
                    };
                    one_line(&line)
                });
                continue;
            }
            Some(Ok(line)) = deciding.join_next() => Heard::Told(line),
        };
        if put.send(News::Heard(heard)).is_err() {
            return;
        }
    }
}

async fn follow(backend: Docker, identity: String, put: Sender<News>) {
    let Ok(bottle) = identity.parse() else { return };
    let hear = |line: &str| {
        if let Some(exchange) = Exchange::of(&identity, line) {
            let _ = put.send(News::Heard(Heard::Exchange(exchange))); // who does not listen any more is about to end
        }
    };
    // A bottle that ends takes its records with it; the next look at the engine says so.
    let _ = backend.records(&bottle, PAST, Extent::Following, hear).await;
}

const BETWEEN_LISTS: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Records of before that are shown of each bottle.
const PAST: usize = 50;

//! `egress-proxy watch`: exchanges in the terminal, as they are recorded. It only reads records; nothing it does reaches
//! the proxy.

mod row;
mod source;
mod state;
mod view;

use std::{path::PathBuf, sync::mpsc::Receiver, time::Duration};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};

pub use self::source::Source;
use self::state::{Key, State};

/// How long a key is waited for before records are looked at again.
const TICK: Duration = Duration::from_millis(50);

/// What a watcher hears.
#[derive(Debug)]
pub enum Heard {
    /// So many records went by unheard.
    Lost(u64),
    Record(Box<shared::record::Record<'static>>),
    /// How it stands with the source, in words.
    Standing(String),
}

/// Shows records until the user has seen enough.
///
/// # Errors
/// The terminal cannot be used.
pub fn run(source: Source) -> anyhow::Result<()> {
    let name = source.name();
    let heard = source.start()?;
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, State::new(name), &heard);
    ratatui::try_restore()?;
    shown
}

fn show(terminal: &mut DefaultTerminal, mut state: State, heard: &Receiver<Heard>) -> anyhow::Result<()> {
    loop {
        terminal.draw(|frame| view::draw(&mut state, frame))?;
        if event::poll(TICK)?
            && let Event::Key(pressed) = event::read()?
            && let Some(key) = key(pressed)
            && !state.press(key)
        {
            return Ok(());
        }
        while let Ok(heard) = heard.try_recv() {
            state.hear(heard);
        }
    }
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
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

/// Where records come from, as the command line says it.
#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    /// A log file to follow, instead of a running proxy.
    #[arg(value_name = "FILE", conflicts_with = "admin")]
    pub file: Option<PathBuf>,
    /// The admin listener of a running proxy.
    #[arg(long, value_name = "ADDR", default_value_t = std::net::SocketAddr::from(([127, 0, 0, 1], shared::contract::ADMIN_PORT)))]
    pub admin: std::net::SocketAddr,
}

impl WatchArgs {
    pub fn source(self) -> Source {
        match self.file {
            Some(path) => Source::File(path),
            None => Source::Admin(self.admin),
        }
    }
}

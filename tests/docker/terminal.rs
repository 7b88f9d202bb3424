//! The agent on a real terminal: a pseudo-terminal of `script`, whose other end the test holds.

use std::process::Stdio;

use harness::within;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::bottle::{self, Setup};

/// `bottle` on a terminal of 33 rows and 101 columns.
pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
    _setup: Option<Setup>,
}

impl Terminal {
    /// `bottle start` of an agent that is this command.
    async fn open(command: &str) -> Self {
        let setup = Setup::closed().frontmatter_with_command("egress_proxy: {defaults: off}", command);
        let bottle = setup.command(&[]).await;
        Self { _setup: Some(setup), ..Self::of(&bottle, "start test --yes --dlp builtin") }
    }

    /// These words of `bottle`, in the environment of a command line of it.
    pub(crate) fn of(bottle: &Command, words: &str) -> Self {
        let bottle = bottle.as_std();
        let line = format!(
            "tty; stty rows 33 cols 101; {} {words}; echo \"code=$?\"; stty -a | grep -o -- '-\\?icanon'",
            bottle::path().display()
        );
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_clear().kill_on_drop(true);
        script.envs(bottle.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("TERM", "xterm").env("SHELL", "/bin/sh");
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("no `script` on this machine: install bsdutils");
        let keys = child.stdin.take().expect("stdin is piped");
        let screen = child.stdout.take().expect("stdout is piped");
        Self { child, keys, screen, seen: String::new(), _setup: None }
    }

    /// Reads on until the screen shows this; everything up to it.
    pub(crate) async fn until(&mut self, words: &str) -> String {
        let mut buffer = [0; 4096];
        while !self.seen.contains(words) {
            let waited = format!("no `{words}` in {:?}", self.seen);
            let count = within(&waited, self.screen.read(&mut buffer)).await.expect("the screen is readable");
            assert!(count > 0, "{waited}");
            self.seen += &String::from_utf8_lossy(&buffer[..count]);
        }
        let end = self.seen.find(words).map_or(0, |at| at + words.len());
        self.seen.drain(..end).collect()
    }

    pub(crate) async fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.expect("the terminal takes keys");
    }
}

#[tokio::test]
async fn the_agent_has_the_terminals_size_keys_and_signals() {
    let mut terminal = Terminal::open("[bash, --norc]").await;
    let own = terminal.until("\n").await.trim().to_owned();
    terminal.until("bash-5").await;

    terminal.keys("stty size\r").await;
    terminal.until("33 101").await;

    // Ctrl-C reaches the agent's foreground program, not `bottle`. The program itself says that it has the terminal: a
    // word of the shell's would come before that.
    terminal.keys("sh -c 'echo wait$((1+1)); exec cat'\r").await;
    terminal.until("wait2").await;
    terminal.keys("\u{3}").await;
    terminal.until("bash-5").await;
    terminal.keys("echo alive$((40+2))\r").await;
    terminal.until("alive42").await;

    // A new size is told while the agent runs, all of it at once: after the first half the terminal would be that of the trap's
    // own `stty`, and the second half be told to that one. A trap that fires just before a `read` waits for its end; a key that comes
    // before the shell has the terminal back from `stty` would be that one's.
    let trap = "trap 'stty size; echo told$((1+1))' WINCH; echo armed$((1+1)); while :; do read -rt 1 line; done\r";
    terminal.keys(trap).await;
    terminal.until("armed2").await;
    let own = std::fs::File::open(&own).expect("the terminal of `script`");
    tcsetwinsize(own, Winsize { ws_row: 44, ws_col: 122, ws_xpixel: 0, ws_ypixel: 0 }).expect("another size");
    terminal.until("44 122").await;
    terminal.until("told2").await;
    terminal.keys("\u{3}").await;
    terminal.until("bash-5").await;
    terminal.keys("exit 7\r").await;

    // The agent's code is passed on, and the terminal is as it was.
    terminal.until("code=7").await;
    let rest = terminal.until("icanon").await;
    assert!(!rest.contains("-icanon"), "{rest}");
    within("the end of the terminal", terminal.child.wait()).await.unwrap();
}

#[tokio::test]
async fn a_program_that_ends_with_its_first_word_ends_the_bottle_with_its_code() {
    let mut terminal = Terminal::open("[sh, -c, 'echo word$((1+1)); exit 3']").await;
    terminal.until("word2").await;
    terminal.until("code=3").await;
    within("the end of the terminal", terminal.child.wait()).await.unwrap();
}

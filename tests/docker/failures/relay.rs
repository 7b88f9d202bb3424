//! Stands between `bottle` and the engine, counts the requests that change something, and says when the engine has done the one
//! that a test waits for, before `bottle` hears of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

pub(super) struct Relay {
    folder: TempDir,
    state: Arc<State>,
}

struct State {
    engine: PathBuf,
    /// The request, from 1, whose answer is never passed on.
    last: usize,
    seen: Mutex<Vec<String>>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// Requests that the engine has not answered yet.
    under_way: usize,
    /// The engine has answered the last one.
    reached: bool,
}

impl Relay {
    /// Lets everything pass until the engine has done request `last`.
    pub(super) fn until(engine: &Path, last: usize) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("docker.sock")).expect("a socket");
        let progress = watch::Sender::new(Progress::default());
        let state = Arc::new(State { engine: engine.to_owned(), last, seen: Mutex::default(), progress });
        let own = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(own.clone().relay(client));
            }
        });
        Self { folder, state }
    }

    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// Returns when the engine has done the last request.
    pub(super) async fn reached(&self) {
        self.wait(|progress| progress.reached).await;
    }

    /// Returns when the engine is done with everything that it was asked.
    pub(super) async fn settled(&self) {
        self.wait(|progress| progress.under_way == 0).await;
    }

    /// The requests that change something, in the order in which they came.
    pub(super) fn seen(&self) -> Vec<String> {
        self.state.seen.lock().expect("nobody panics with it").clone()
    }

    async fn wait(&self, until: impl FnMut(&Progress) -> bool) {
        self.state.progress.subscribe().wait_for(until).await.expect("the state lives");
    }
}

impl State {
    async fn relay(self: Arc<Self>, mut client: UnixStream) {
        let mut engine = UnixStream::connect(&self.engine).await.expect("an engine");
        let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut pending = None;
        let mut listening = true;
        while listening || pending.is_some() {
            tokio::select! {
                read = client.read(&mut asked), if listening => {
                    let count = read.unwrap_or(0);
                    if count == 0 {
                        listening = false;
                        if pending.is_none() {
                            let _ = engine.shutdown().await;
                        }
                        continue;
                    }
                    if let Some(request) = change(&asked[..count]) {
                        // What the killed one has said and nobody has read yet shall not happen after a cleanup.
                        let Some(number) = self.begin(request) else { break };
                        pending = Some(number);
                    }
                    if engine.write_all(&asked[..count]).await.is_err() {
                        break;
                    }
                }
                read = engine.read(&mut answered) => {
                    let count = read.unwrap_or(0);
                    let done = pending.take();
                    if let Some(number) = done {
                        self.end(number);
                    }
                    // The client never hears that the last one is done.
                    if count == 0 || done == Some(self.last) {
                        break;
                    }
                    if listening && client.write_all(&answered[..count]).await.is_err() {
                        listening = false;
                    }
                }
            }
        }
        if let Some(number) = pending {
            self.end(number);
        }
        if self.progress.borrow().reached {
            // Held open until the killed one is gone.
            let _ = client.read(&mut asked).await;
        }
    }

    /// Enters a request; none after the last one.
    fn begin(&self, request: String) -> Option<usize> {
        let mut seen = self.seen.lock().expect("nobody panics with it");
        let begun = self.progress.send_if_modified(|progress| {
            progress.under_way += usize::from(!progress.reached);
            !progress.reached
        });
        begun.then(|| {
            seen.push(request);
            seen.len()
        })
    }

    fn end(&self, number: usize) {
        self.progress.send_modify(|progress| {
            progress.under_way -= 1;
            progress.reached |= number == self.last;
        });
    }
}

/// What a request changes, in words; `None` for one that only asks. A request's head comes in a piece of its own.
fn change(piece: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(piece);
    let mut words = text.lines().next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let known = matches!(method, "POST" | "PUT" | "DELETE");
    if !known || target.contains("/wait") || target.contains("/resize") {
        return None;
    }
    let path = target.split('?').next()?.strip_prefix('/')?;
    // Names and ids differ from run to run.
    let plain = |word: &&str| !word.contains('-') && word.len() < 20;
    let path: Vec<&str> = path.split('/').filter(plain).collect();
    let role = ["egress-proxy", "git-gate", "pipelock", "-net-", "-inspect-", "-egress-"];
    let role = role.into_iter().find(|role| text.contains(&format!("claude-bottle-{}", role.trim_start_matches('-'))));
    Some(format!("{method} {} {}", path.join("/"), role.map(|role| role.trim_matches('-')).unwrap_or_default()))
}

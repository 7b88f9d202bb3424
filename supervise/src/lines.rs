//! Stdin and stdout: one JSON document a line. A line that is none of ours is passed over.

use std::io;

use shared::supervise::{Answered, Asked};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout};
use tokio::sync::mpsc;

use crate::counter::Counter;

/// Returns when stdin ends.
pub(crate) async fn read_answers(counter: &Counter) -> io::Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Ok(answer) = serde_json::from_str::<Answered>(&line) {
            counter.answer(answer);
        }
    }
    Ok(())
}

/// Returns only when stdout fails.
pub(crate) async fn write_asked(mut asked: mpsc::Receiver<Asked>) -> io::Result<()> {
    let mut out = stdout();
    while let Some(asked) = asked.recv().await {
        let mut line = serde_json::to_vec(&asked)?;
        line.push(b'\n');
        out.write_all(&line).await?;
        out.flush().await?;
    }
    Ok(())
}

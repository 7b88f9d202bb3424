//! `bottle edit`: opens a manifest in the user's editor, then says what is wrong with it.

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use thiserror::Error;

use crate::cli::EditArgs;
use crate::diagnostics::{Explain, Failure};
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::printer::Printer;

pub(super) fn run(args: &EditArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let manifests = Manifests::new(host);
    let file = manifests.find(&args.agent)?;
    let path = if args.bottle {
        let agent = manifests.agent(&file)?;
        host.home.bottle(agent.bottle.value())
    } else {
        file.path.clone()
    };
    open(&path, host)?;
    manifests.load(&args.agent)?;
    printer.step(&format!("`{}` is valid", host.shorten(&path)));
    Ok(Exit::Success)
}

/// Runs `$VISUAL` or `$EDITOR`, which may hold arguments, and waits for it.
fn open(path: &PathBuf, host: &Host) -> Result<(), EditError> {
    let editor = host.variable("VISUAL").or_else(|| host.variable("EDITOR")).unwrap_or("vi");
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi").to_owned();
    let status = Command::new(&program).args(words).arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(EditError::Failed { program, status }),
        Err(source) => Err(EditError::NotStarted { program, source }),
    }
}

#[derive(Debug, Error)]
pub(crate) enum EditError {
    #[error("the editor `{program}` failed ({status})")]
    Failed { program: String, status: ExitStatus },
    #[error("the editor `{program}` cannot be started")]
    NotStarted { program: String, source: io::Error },
}

impl Explain for EditError {
    fn hints(&self) -> Vec<String> {
        vec!["set `VISUAL` or `EDITOR` to the editor of your choice".to_owned()]
    }
}

//! Programs inside a running container: run one to its end, or start one on a terminal.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error as ApiError;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use futures_util::{Stream, TryStreamExt};
use tokio::io::AsyncWrite;
use tokio::time::{Duration, sleep};

use super::{Engine, EngineError};

/// One program in one container.
pub(crate) struct ExecSpec<'a> {
    pub container: &'a str,
    pub command: Vec<String>,
    /// The image's own user when `None`.
    pub user: Option<&'a str>,
    /// `NAME=VALUE`; may be secret: the engine's store does not keep it, and this type has no `Debug`.
    pub env: Vec<String>,
    /// The image's own when `None`.
    pub workdir: Option<String>,
}

/// How a program ended that was run to its end.
pub(crate) struct Finished {
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
}

/// A program that runs on pipes or on a terminal.
pub(crate) struct Session {
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    pub output: Pin<Box<dyn Stream<Item = Result<Output, EngineError>> + Send>>,
    pub handle: SessionHandle,
}

/// Bytes of a session's output.
pub(crate) enum Output {
    Out(bytes::Bytes),
    Err(bytes::Bytes),
}

/// What stays usable while a session's streams are borrowed.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    engine: Engine,
    exec: String,
    container: String,
    program: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// What a session is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    Pipes,
    Terminal(WindowSize),
}

impl Engine {
    /// Runs a program without input and collects what it says.
    pub(crate) async fn run(&self, spec: ExecSpec<'_>) -> Result<Finished, EngineError> {
        let config = ExecConfig { attach_stdout: Some(true), attach_stderr: Some(true), ..config(&spec) };
        let (handle, started) = self.exec(&spec, config, false).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let StartExecResults::Attached { mut output, input: _input } = started {
            while let Some(chunk) = output.try_next().await.map_err(|source| handle.failed(source))? {
                match chunk {
                    LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                    other => stdout.extend_from_slice(&other.into_bytes()),
                }
            }
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        Ok(Finished { code: handle.code().await?, stdout: text(stdout), stderr: text(stderr) })
    }

    /// Starts a program whose streams are the caller's.
    pub(crate) async fn attach(&self, spec: ExecSpec<'_>, console: Console) -> Result<Session, EngineError> {
        let is_terminal = matches!(console, Console::Terminal(_));
        let size = match console {
            Console::Terminal(size) => Some(vec![size.rows.into(), size.columns.into()]),
            Console::Pipes => None,
        };
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(is_terminal),
            console_size: size,
            // No key sequence detaches: every byte is the agent's.
            detach_keys: Some(NO_DETACH_KEYS.to_owned()),
            ..config(&spec)
        };
        let (handle, started) = self.exec(&spec, config, is_terminal).await?;
        let StartExecResults::Attached { output, input } = started else {
            return Err(handle.failed(ApiError::RequestTimeoutError));
        };
        let owner = handle.clone();
        let output = output.map_err(move |source| owner.failed(source)).map_ok(|chunk| match chunk {
            LogOutput::StdErr { message } => Output::Err(message),
            other => Output::Out(other.into_bytes()),
        });
        Ok(Session { input, output: Box::pin(output), handle })
    }

    async fn exec(
        &self,
        spec: &ExecSpec<'_>,
        config: ExecConfig,
        tty: bool,
    ) -> Result<(SessionHandle, StartExecResults), EngineError> {
        let program = spec.command.first().cloned().unwrap_or_default();
        let container = spec.container.to_owned();
        let failed = |source| EngineError::Exec { container: container.clone(), program: program.clone(), source };
        let exec = self.docker.create_exec(spec.container, config).await.map_err(failed)?.id;
        let options = StartExecOptions { tty, ..StartExecOptions::default() };
        let started = self.docker.start_exec(&exec, Some(options)).await.map_err(failed)?;
        Ok((SessionHandle { engine: self.clone(), exec, container, program }, started))
    }
}

impl SessionHandle {
    pub(crate) async fn resize(&self, size: WindowSize) -> Result<(), EngineError> {
        let options = ResizeExecOptionsBuilder::default().h(size.rows.into()).w(size.columns.into()).build();
        self.engine.docker.resize_exec(&self.exec, options).await.map_err(|source| self.failed(source))
    }

    /// The exit code of a program whose output has ended.
    pub(crate) async fn code(&self) -> Result<i64, EngineError> {
        // The engine ends the output a moment before it writes the code down, and offers no event for it.
        for _ in 0..CODE_LOOKS {
            let found = self.engine.docker.inspect_exec(&self.exec).await.map_err(|source| self.failed(source))?;
            if let (Some(false), Some(code)) = (found.running, found.exit_code) {
                return Ok(code);
            }
            sleep(CODE_PAUSE).await;
        }
        Err(self.failed(ApiError::RequestTimeoutError))
    }

    fn failed(&self, source: ApiError) -> EngineError {
        EngineError::Exec { container: self.container.clone(), program: self.program.clone(), source }
    }
}

fn config(spec: &ExecSpec<'_>) -> ExecConfig {
    ExecConfig {
        cmd: Some(spec.command.clone()),
        env: Some(spec.env.clone()),
        user: spec.user.map(str::to_owned),
        working_dir: spec.workdir.clone(),
        ..ExecConfig::default()
    }
}

const CODE_LOOKS: u32 = 250;
const CODE_PAUSE: Duration = Duration::from_millis(20);

/// A sequence that no terminal sends by accident; the engine insists on one.
const NO_DETACH_KEYS: &str = "ctrl-@,ctrl-_,ctrl-^,ctrl-@,ctrl-_,ctrl-^";

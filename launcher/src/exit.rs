//! The exit codes of `bottle`; the comments are the contract.

use std::process::ExitCode;

use crate::backend::AgentExit;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What the agent's command ended with.
    Agent(AgentExit),
    /// 1: `bottle selftest` saw something get through.
    Escaped,
    /// 125: `bottle` itself failed; the text says where.
    Failure,
    /// 128 and the signal's number: torn down on request.
    Interrupted(Signal),
    /// 3: `bottle check` found that the request would be refused.
    Refused,
    /// 0; also "no" to the question.
    Success,
    /// 2: the command line is wrong.
    Usage,
}

/// Signals that end a bottle in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Hangup,
    Interrupt,
    Terminate,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Agent(AgentExit(code)) => code,
            Exit::Escaped => 1,
            Exit::Failure => 125,
            Exit::Interrupted(Signal::Hangup) => 128 + 1,
            Exit::Interrupted(Signal::Interrupt) => 128 + 2,
            Exit::Interrupted(Signal::Terminate) => 128 + 15,
            Exit::Refused => 3,
            Exit::Success => 0,
            Exit::Usage => 2,
        })
    }
}

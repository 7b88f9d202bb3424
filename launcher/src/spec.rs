//! What the user asked for on the command line, before any manifest was read. Plain words, no clap, no IO.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::name::AgentName;

/// `bottle start AGENT …`, as intent.
#[derive(Debug, Clone)]
pub struct Spec {
    pub agent: AgentName,
    /// `--dlp`; wins over the manifest.
    pub dlp: Option<Dlp>,
    pub workdir: Workdir,
    /// `--remote-control`: hands the session to Claude's remote control.
    pub control: Control,
    /// What stands behind `--`.
    pub arguments: Vec<String>,
}

/// Who looks at what leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dlp {
    /// The built-in scan, then pipelock.
    #[default]
    Both,
    /// The built-in scan alone: no pipelock sidecar.
    Builtin,
    /// Nobody.
    Off,
    /// pipelock alone: the built-in scan is off.
    Pipelock,
}

/// What the agent finds in its working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workdir {
    /// A copy of this folder of the host, with its `.git`.
    CopyOf(PathBuf),
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Remote,
    Terminal,
}

impl Dlp {
    pub const NAMES: [&str; 4] = ["both", "pipelock", "builtin", "off"];

    /// Whether this mode needs the pipelock sidecar.
    pub fn asks_pipelock(self) -> bool {
        matches!(self, Self::Both | Self::Pipelock)
    }

    /// Whether the proxy's own scan blocks.
    pub fn scans(self) -> bool {
        matches!(self, Self::Both | Self::Builtin)
    }
}

impl FromStr for Dlp {
    type Err = UnknownDlp;

    fn from_str(text: &str) -> Result<Self, UnknownDlp> {
        match text {
            "both" => Ok(Self::Both),
            "builtin" => Ok(Self::Builtin),
            "off" => Ok(Self::Off),
            "pipelock" => Ok(Self::Pipelock),
            _ => Err(UnknownDlp),
        }
    }
}

impl fmt::Display for Dlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both",
            Self::Builtin => "builtin",
            Self::Off => "off",
            Self::Pipelock => "pipelock",
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not one of `both`, `pipelock`, `builtin`, `off`")]
pub struct UnknownDlp;

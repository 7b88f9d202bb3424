//! `metadata.json`: how a bottle was started, so that it can be started again. A stored format: readers accept the schema
//! that they know and no other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::plan::Plan;
use crate::spec::{Control, Dlp, Spec, Workdir};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    schema: Schema,
    pub identity: String,
    pub agent: String,
    pub bottle: String,
    pub backend: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// The folder in which `bottle start` ran; agents of a working directory are found from there.
    pub folder: PathBuf,
    pub dlp: Option<String>,
    /// `--cwd`.
    pub copied_folder: Option<PathBuf>,
    pub remote_control: bool,
    pub arguments: Vec<String>,
}

/// The only schema so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "bottle-state/1")]
    V1,
}

impl Metadata {
    pub fn new(spec: &Spec, plan: &Plan, backend: &str, folder: PathBuf) -> Self {
        Self {
            schema: Schema::V1,
            identity: plan.identity.to_string(),
            agent: plan.agent.to_string(),
            bottle: plan.bottle.to_string(),
            backend: backend.to_owned(),
            started: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            folder,
            dlp: spec.dlp.map(|dlp| dlp.to_string()),
            copied_folder: match &spec.workdir {
                Workdir::CopyOf(folder) => Some(folder.clone()),
                Workdir::Empty => None,
            },
            remote_control: spec.control == Control::Remote,
            arguments: spec.arguments.clone(),
        }
    }

    /// The intent that it records; `None` where it was damaged.
    pub fn spec(&self) -> Option<Spec> {
        Some(Spec {
            agent: self.agent.parse().ok()?,
            dlp: match &self.dlp {
                Some(word) => Some(word.parse::<Dlp>().ok()?),
                None => None,
            },
            workdir: self.copied_folder.clone().map_or(Workdir::Empty, Workdir::CopyOf),
            control: if self.remote_control { Control::Remote } else { Control::Terminal },
            arguments: self.arguments.clone(),
        })
    }
}

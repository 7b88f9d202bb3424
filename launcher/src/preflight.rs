//! What the user is shown before the question: six fields, in a fixed order, values aligned. It never shows a value of a
//! variable or of a credential.

use std::fmt;

use crate::plan::{Plan, ScanRules, Supervise};
use crate::spec::Dlp;

/// `Display` is the whole text, with a line feed at the end of each line.
pub struct Preflight<'p>(pub &'p Plan);

impl Preflight<'_> {
    fn fields(&self) -> [(&'static str, Vec<String>); 6] {
        let plan = self.0;
        let list = |names: Vec<&str>| match names.is_empty() {
            true => vec![NOTHING.to_owned()],
            false => vec![names.join(", ")],
        };
        [
            ("agent", vec![plan.agent.to_string()]),
            ("env", list(plan.env.named.iter().map(|variable| variable.as_str()).collect())),
            ("skills", list(plan.skills.iter().map(|skill| skill.name.as_str()).collect())),
            ("bottle", vec![plan.bottle.to_string()]),
            ("git gate", self.git()),
            ("egress-proxy", self.routes()),
        ]
    }

    fn git(&self) -> Vec<String> {
        let lines: Vec<String> = self.0.git.iter().map(|git| format!("{} -> {}", git.name, git.upstream)).collect();
        if lines.is_empty() { vec![NOTHING.to_owned()] } else { lines }
    }

    fn routes(&self) -> Vec<String> {
        let line = |route: &std::sync::Arc<shared::routes::Route>| match &route.auth {
            Some(auth) => format!("{} [auth:{}]", route.host, auth.scheme.name()),
            None => route.host.to_string(),
        };
        let mut lines: Vec<String> = self.0.egress.routes.iter().map(line).collect();
        lines.extend(self.0.granted.iter().map(|proposal| format!("{proposal} [approved earlier]")));
        if lines.is_empty() {
            lines.push(NOTHING.to_owned());
        }
        if let Some(ScanRules { shown, extends, .. }) = &self.0.egress.scan_rules {
            let beside = if *extends { "beside" } else { "instead of" };
            lines.push(format!("scan rules: {shown} ({beside} the built-in ones)"));
        }
        match self.0.dlp {
            Dlp::Both => {}
            Dlp::Builtin => lines.push("dlp: builtin (the built-in scan alone, without pipelock)".to_owned()),
            Dlp::Off => lines.push("dlp: off (nothing looks at what leaves)".to_owned()),
            Dlp::Pipelock => lines.push("dlp: pipelock (without the built-in scan)".to_owned()),
        }
        if self.0.supervise == Supervise::On {
            lines.push("supervise: on (the agent may ask for more; `bottle dashboard` shows what it asks)".to_owned());
        }
        lines
    }
}

impl fmt::Display for Preflight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, values) in self.fields() {
            for (index, value) in values.iter().enumerate() {
                let label = if index == 0 { label } else { "" };
                writeln!(f, "{label:LABEL$}{value}")?;
            }
        }
        Ok(())
    }
}

const NOTHING: &str = "(none)";

/// The longest label and two spaces.
const LABEL: usize = "egress-proxy".len() + 2;

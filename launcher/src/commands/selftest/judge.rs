//! What an attempt's output means. Pure.

use crate::backend::Said;
use crate::secret::Secret;

/// How an attempt is told from a success of the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// This must be in the answer: without it, the silence of the others means nothing.
    Control(&'static str),
    /// None of the proxy's credentials may be in what the agent can read; something must be.
    NoCredential,
    /// An answer may only be the proxy's own refusal.
    Refusal,
    /// Whatever is said got through.
    Silence,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Held,
    /// With the first of what got through.
    Through(String),
    /// With the reason.
    Untried(String),
}

impl Judge {
    pub(super) fn verdict(self, said: &Said, credentials: &[Secret]) -> Verdict {
        let text = said.text.trim();
        if matches!(said.code, NO_TOOL | NO_PROGRAM | NOT_EXECUTABLE) {
            return Verdict::Untried(format!("the image has no tool for it ({})", evidence(text, "bash")));
        }
        if said.code == NOT_HERE {
            return Verdict::Untried(evidence(text, "it means nothing here"));
        }
        match self {
            Self::Control(expected) if text.contains(expected) => Verdict::Held,
            Self::Control(_) => Verdict::Through(format!("no answer at all, but: {}", evidence(text, "nothing"))),
            Self::NoCredential if text.is_empty() => Verdict::Untried("there was nothing to read".to_owned()),
            Self::NoCredential => match credentials.iter().any(|credential| text.contains(credential.expose())) {
                true => Verdict::Through("a credential of the proxy's".to_owned()),
                false => Verdict::Held,
            },
            Self::Refusal if is_refusal(text) => Verdict::Held,
            Self::Silence if text.is_empty() => Verdict::Held,
            Self::Refusal | Self::Silence => Verdict::Through(evidence(text, "")),
        }
    }
}

/// Nothing at all, or the proxy's own words that it did not let the request out. "failed" is not among them: what failed
/// on the way had been let out.
fn is_refusal(text: &str) -> bool {
    text.is_empty() || ["refused by ", "blocked by "].iter().any(|words| text.starts_with(words))
}

/// The first line, shortened.
fn evidence(text: &str, otherwise: &str) -> String {
    let line = text.lines().next().unwrap_or(otherwise);
    line.chars().filter(|c| !c.is_control()).take(EVIDENCE).collect()
}

/// What scripts exit with when a tool is missing; they name it.
const NO_TOOL: i64 = 77;
/// What scripts exit with when an attempt would prove nothing in this bottle; they say why.
const NOT_HERE: i64 = 78;
const NOT_EXECUTABLE: i64 = 126;
const NO_PROGRAM: i64 = 127;

const EVIDENCE: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(judge: Judge, text: &str) -> Verdict {
        judge.verdict(&Said { code: 0, text: text.to_owned() }, &[Secret::new("the-credential".to_owned())])
    }

    #[test]
    fn only_the_proxys_refusal_is_a_refusal() {
        for held in ["", "refused by policy: no route", "blocked by scan: rule aws-access-token"] {
            assert_eq!(verdict(Judge::Refusal, held), Verdict::Held, "{held}");
        }
        for through in ["<html>", "failed by egress-proxy: the name does not resolve", "not refused by policy"] {
            assert!(matches!(verdict(Judge::Refusal, through), Verdict::Through(_)), "{through}");
        }
    }

    #[test]
    fn silence_and_credentials_are_judged_by_data() {
        assert_eq!(verdict(Judge::Silence, ""), Verdict::Held);
        assert_eq!(verdict(Judge::Silence, "connected"), Verdict::Through("connected".to_owned()));
        assert_eq!(verdict(Judge::NoCredential, "PATH=/bin"), Verdict::Held);
        assert!(matches!(verdict(Judge::NoCredential, "X=the-credential"), Verdict::Through(_)));
        assert!(matches!(verdict(Judge::NoCredential, ""), Verdict::Untried(_)));
    }

    #[test]
    fn a_control_that_fails_is_no_pass() {
        assert!(matches!(verdict(Judge::Control("connected"), ""), Verdict::Through(_)));
        assert_eq!(verdict(Judge::Control("connected"), "connected to egress-proxy"), Verdict::Held);
    }

    #[test]
    fn a_missing_tool_is_no_pass() {
        let said = Said { code: 77, text: "curl".to_owned() };
        assert!(matches!(Judge::Silence.verdict(&said, &[]), Verdict::Untried(_)));
    }

    #[test]
    fn what_means_nothing_here_is_no_pass_and_says_why() {
        let said = Said { code: 78, text: "why".to_owned() };
        assert_eq!(Judge::Silence.verdict(&said, &[]), Verdict::Untried("why".to_owned()));
    }
}

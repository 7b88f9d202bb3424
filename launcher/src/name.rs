//! Names of agents, bottles, skills and environment variables, parsed once. A name that exists is safe as a file name, a
//! label, and a part of a container's name.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error("`{0}` is no name: lower-case letters, digits and `-`, beginning with a letter, at most 40 characters")]
    Name(String),
    #[error("`{0}` is no environment variable: letters, digits and `_`, not beginning with a digit")]
    Variable(String),
    #[error("`{0}` is no skill: one folder name, without `/`")]
    Skill(String),
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $valid:path, $error:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $valid(text) { Ok(Self(text.to_owned())) } else { Err($error(text.to_owned())) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The file name of an agent's manifest, without `.md`.
    AgentName, is_name, NameError::Name
);
name!(
    /// The file name of a bottle's manifest, without `.md`.
    BottleName, is_name, NameError::Name
);
name!(
    /// A folder under `~/.claude/skills/`.
    SkillName, is_skill, NameError::Skill
);
name!(
    /// The name of an environment variable, the host's or the agent's.
    Variable, is_variable, NameError::Variable
);

const LONGEST_NAME: usize = 40; // with prefix and identity a container's name stays under 63, a DNS label

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_skill(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for bad in ["", "../x", "a/b", "A", "9a", "a b", "a.md", "-a", &"a".repeat(41)] {
            assert!(bad.parse::<AgentName>().is_err(), "{bad}");
        }
        assert!("my-agent2".parse::<AgentName>().is_ok());
        for bad in ["", "..", ".x", "a/b", "a\0"] {
            assert!(bad.parse::<SkillName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_is_an_identifier() {
        assert!("GH_PAT".parse::<Variable>().is_ok());
        for bad in ["", "1A", "A-B", "A=B", "A B"] {
            assert!(bad.parse::<Variable>().is_err(), "{bad}");
        }
    }
}

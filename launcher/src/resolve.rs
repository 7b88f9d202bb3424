//! Manifest and host → [`Plan`]: every variable looked up, every file found, every slot given out. All that is missing is
//! reported at once, each at its place in the manifest. Reads files and creates none.

mod egress;

use std::fs;

use shared::yaml::Diagnostic;

use crate::home::Home;
use crate::host::Host;
use crate::manifest::agent::Agent;
use crate::manifest::bottle::Bottle;
use crate::manifest::env::{self, Assignment, Value};
use crate::manifest::git::GitEntry;
use crate::manifest::source::{Placed, Problems, Unmet};
use crate::name::{SkillName, Variable};
use crate::plan::{
    AgentCommand, AgentEnv, AgentProgram, GitRemote, Images, Paths, Plan, Question, Session, Skill, Supervise,
};
use crate::secret::Secret;
use crate::spec::Spec;
use crate::state::Identity;

/// # Errors
/// Missing variables, skills, key files; placeholders that collide.
pub fn resolve(spec: &Spec, agent: &Agent, bottle: &Bottle, host: &Host, identity: Identity) -> Result<Plan, Unmet> {
    let mut problems = Problems::default();
    let mut env = agent_env(&bottle.env, host, &mut problems);
    let egress = egress::resolve(bottle, host, &mut problems);
    let dlp = spec.dlp.or(bottle.dlp).unwrap_or_default();
    egress::check_inspection(bottle, dlp, &mut problems);
    for slot in &egress.placeholders {
        env.public.push((slot.variable.clone(), slot.value.clone()));
        env.named.push(slot.variable.clone());
    }
    let command = command(spec, bottle);
    if matches!(command.program, AgentProgram::ClaudeCode { .. }) {
        env.public.extend(egress::claude_defaults(bottle, &env));
    }
    let skills = agent.skills.iter().filter_map(|skill| find_skill(skill, host, &mut problems)).collect();
    let git = bottle.git.iter().filter_map(|entry| git_remote(entry, host, &mut problems)).collect();
    if !problems.is_empty() {
        return Err(Unmet(problems.into_reports()));
    }
    Ok(Plan {
        paths: paths(&host.home, &identity),
        identity,
        agent: agent.name.clone(),
        bottle: bottle.name.clone(),
        egress,
        env,
        prompt: agent.prompt().to_owned(),
        skills,
        git,
        supervise: bottle.supervise.unwrap_or(Supervise::Off),
        granted: vec![],
        dlp,
        images: images(bottle, host),
        command,
        workdir: spec.workdir.clone(),
        transcript: None,
    })
}

/// What the proxy would refuse to scan by, told without a start.
///
/// # Errors
/// A rules file that cannot be used, exemptions that name no rule.
pub fn check_scan(bottle: &Bottle, host: &Host) -> Result<(), Unmet> {
    let mut problems = Problems::default();
    egress::scan_rules_in_force(bottle, host, &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(Unmet(problems.into_reports())) }
}

fn agent_env(assignments: &[Assignment], host: &Host, problems: &mut Problems) -> AgentEnv {
    let mut env = AgentEnv::default();
    for Assignment { variable, value } in assignments {
        let name = variable.value().clone();
        env.named.push(name.clone());
        match value {
            Value::Ask(text) => env.questions.push(Question { variable: name, text: text.clone() }),
            Value::Literal(text) => env.public.push((name, text.clone())),
            Value::Host(wanted) => match host.variable(wanted.as_str()) {
                Some(value) => env.secret.push((name, Secret::new(value.to_owned()))),
                None => {
                    let message = format!("`{name}` takes its value from the host's `{wanted}`, which is not set");
                    problems.push(&variable.source, missing_variable(variable.at.error(message), wanted, host));
                }
            },
        }
    }
    env
}

/// The error, with the line that sets the variable, or the name that was meant.
fn missing_variable(error: Diagnostic, wanted: &Variable, host: &Host) -> Diagnostic {
    let names: Vec<&str> = host.variable_names().collect();
    error.with_hint(env::suggestion(wanted, &names).unwrap_or_else(|| format!("`export {wanted}=…`, then start again")))
}

fn find_skill(skill: &Placed<SkillName>, host: &Host, problems: &mut Problems) -> Option<Skill> {
    let folder = host.skills().join(skill.value().as_str());
    if !folder.is_dir() {
        let error = skill.at.error(format!("no skill `{}`", skill.value()));
        let hint = format!("a skill is a folder: `{}`", host.shorten(&folder));
        problems.push(&skill.source, error.with_hint(hint));
        return None;
    }
    Some(Skill { name: skill.value().clone(), folder })
}

fn git_remote(entry: &GitEntry, host: &Host, problems: &mut Problems) -> Option<GitRemote> {
    let key = &entry.identity_file;
    let Some(path) = host.expand(key.value()) else {
        problems.push(&key.source, key.at.error("a key file is absolute or begins with `~/`"));
        return None;
    };
    let shown = host.shorten(&path);
    let problem = match fs::read_to_string(&path) {
        Err(error) => Some((format!("the key `{shown}` cannot be read: {error}"), NAME_THE_KEY)),
        Ok(text) if !text.contains(" PRIVATE KEY-----") => Some((format!("`{shown}` is no private key"), NAME_THE_KEY)),
        Ok(text) if is_encrypted(&text) => Some((format!("the key `{shown}` asks for a passphrase"), MAKE_A_KEY)),
        Ok(_) => None,
    };
    if let Some((message, hint)) = problem {
        problems.push(&key.source, key.at.error(message).with_hint(hint));
        return None;
    }
    Some(GitRemote {
        name: entry.name.value().clone(),
        upstream: entry.upstream.clone(),
        identity_file: path,
        known_host_key: entry.known_host_key.clone(),
        extra_hosts: entry.extra_hosts.clone(),
    })
}

/// Whether nobody but a human could use the key. In OpenSSH's own format the cipher is named right behind the magic.
fn is_encrypted(key: &str) -> bool {
    let own = key.contains("BEGIN OPENSSH PRIVATE KEY");
    key.contains("ENCRYPTED") || (own && !key.contains(OPENSSH_WITHOUT_CIPHER))
}

fn command(spec: &Spec, bottle: &Bottle) -> AgentCommand {
    let program = match &bottle.command {
        Some(words) => AgentProgram::Custom(words.clone()),
        None => AgentProgram::ClaudeCode { control: spec.control, session: Session::New },
    };
    AgentCommand { program, arguments: spec.arguments.clone() }
}

fn images(bottle: &Bottle, host: &Host) -> Images {
    let images = host.images();
    Images { agent: images.agent.or_else(|| bottle.image.clone()), ..images }
}

fn paths(home: &Home, identity: &Identity) -> Paths {
    Paths {
        home: home.path().to_owned(),
        state: home.state(identity),
        queue: home.queue(identity),
        audit: home.audit(),
    }
}

const NAME_THE_KEY: &str = "name the private key, not the one that ends in `.pub`";
const MAKE_A_KEY: &str =
    "nobody is there to type it: make a key for this repository alone, `ssh-keygen -t ed25519 -N ''`";

/// Base64 of `openssh-key-v1`, NUL and the cipher `none`.
const OPENSSH_WITHOUT_CIPHER: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::routes::CredentialSource;

    use super::*;
    use crate::manifest::Manifests;
    use crate::spec::{Control, Workdir};

    /// The plan of one agent in one bottle, on a host that has these variables.
    fn plan(bottle: &str, variables: &[(&str, &str)]) -> Plan {
        let root = tempfile::tempdir().unwrap();
        for (folder, name, text) in [("bottles", "b.md", bottle), ("agents", "a.md", "---\nbottle: b\n---\nPrompt.\n")]
        {
            let folder = root.path().join(".claude-bottle").join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), text).unwrap();
        }
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables: BTreeMap<String, String> = variables.iter().map(own).collect();
        variables.insert("HOME".to_owned(), root.path().display().to_string());
        let host = Host::new(variables, root.path().to_owned()).unwrap();
        let spec = Spec {
            agent: "a".parse().unwrap(),
            dlp: None,
            workdir: Workdir::Empty,
            control: Control::Terminal,
            arguments: vec!["--model".to_owned(), "opus".to_owned()],
        };
        let (agent, bottle) = Manifests::new(&host).load(&spec.agent).unwrap_or_else(|error| panic!("{error}"));
        resolve(&spec, &agent, &bottle, &host, "a-00000".parse().unwrap()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_key_that_asks_for_a_passphrase_is_told_from_one_that_does_not() {
        let own = |cipher| format!("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA{cipher}AAAA\n");
        assert!(!is_encrypted(&own("BG5vbmU")));
        assert!(is_encrypted(&own("CmFlczI1Ni1jdHI")));
        assert!(is_encrypted("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert!(is_encrypted("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"));
        assert!(!is_encrypted("-----BEGIN EC PRIVATE KEY-----\n"));
    }

    const TWO_TOKENS: &str = "---
env: {LITERAL: text, FROM_HOST: '${SECRET}', ASKED: '?What'}
egress_proxy:
  defaults: off
  routes:
    - {host: a.example, auth: {scheme: Bearer, token_ref: ONE, placeholder: A_TOKEN}}
    - {host: b.example, auth: {scheme: token, token_ref: TWO, placeholder: B_TOKEN}}
    - {host: c.example, auth: {scheme: Bearer, token_ref: ONE, placeholder: A_TOKEN}}
---
";

    #[test]
    fn each_distinct_token_has_one_slot_in_the_order_of_declaration() {
        let plan = plan(TWO_TOKENS, &[("ONE", "first-credential"), ("TWO", "second-credential"), ("SECRET", "hidden")]);
        let slots: Vec<_> =
            plan.egress.tokens.iter().map(|token| (token.slot.as_str(), token.source.as_str())).collect();
        assert_eq!(slots, [("EGRESS_PROXY_TOKEN_0", "ONE"), ("EGRESS_PROXY_TOKEN_1", "TWO")]);
        let sources: Vec<_> =
            plan.egress.routes.iter().filter_map(|route| route.auth.clone()).map(|a| a.source).collect();
        let slot = |index: usize| CredentialSource::Env(format!("EGRESS_PROXY_TOKEN_{index}"));
        assert_eq!(sources, [slot(0), slot(1), slot(0)]);
        assert_eq!(plan.egress.secrets()["EGRESS_PROXY_TOKEN_1"], "second-credential");
    }

    #[test]
    fn the_agent_holds_stand_ins_and_no_credential() {
        let plan = plan(TWO_TOKENS, &[("ONE", "first-credential"), ("TWO", "second-credential"), ("SECRET", "hidden")]);
        let public: BTreeMap<_, _> =
            plan.env.public.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(public["A_TOKEN"], plan.egress.secrets()["EGRESS_PROXY_PLACEHOLDER_0"]);
        assert_ne!(public["A_TOKEN"], public["B_TOKEN"]);
        assert_eq!(plan.egress.placeholders.len(), 2);
        let values: Vec<&str> = plan.egress.placeholders.iter().map(|slot| slot.value.as_str()).collect();
        assert!(values.iter().all(|value| value.starts_with("bottle-placeholder-") && value.len() == 51), "{values:?}");
        assert_ne!(values[0], values[1]);
        let secret: Vec<_> = plan.env.secret.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(secret, [("FROM_HOST", "hidden")]);
        assert!(
            public.values().chain(secret.iter().map(|(_, value)| value)).all(|value| !value.contains("credential"))
        );
    }

    #[test]
    fn the_table_for_the_proxy_names_no_variable_of_the_host() {
        let plan = plan(TWO_TOKENS, &[("ONE", "first-credential"), ("TWO", "second-credential"), ("SECRET", "hidden")]);
        let table = plan.egress.routes.to_json().to_string();
        assert!(!table.contains("token_ref") && !table.contains("credential"), "{table}");
        let mut log = shared::yaml::Diagnostics::default();
        assert!(shared::routes::decode(&table, shared::routes::Dialect::Proxy, &mut log).is_some(), "{log:?}");
    }

    #[test]
    fn what_is_asked_is_asked_later() {
        let plan = plan(TWO_TOKENS, &[("ONE", "first-credential"), ("TWO", "second-credential"), ("SECRET", "hidden")]);
        assert_eq!(plan.env.questions, [Question { variable: "ASKED".parse().unwrap(), text: "What".to_owned() }]);
    }

    #[test]
    fn a_credential_for_claude_implies_its_stand_in_and_quiet() {
        let route =
            "---\negress_proxy: {routes: [{host: api.anthropic.com, auth: {scheme: Bearer, token_ref: T}}]}\n---\n";
        let plan = plan(route, &[("T", "sk-ant-credential")]);
        let names: Vec<&str> = plan.env.public.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"CLAUDE_CODE_OAUTH_TOKEN") && names.contains(&"DISABLE_TELEMETRY"), "{names:?}");
        let argv = plan.command.argv("/p");
        assert_eq!(
            argv,
            ["claude", "--dangerously-skip-permissions", "--append-system-prompt-file", "/p", "--model", "opus"]
        );
    }

    #[test]
    fn telemetry_is_left_alone_where_the_manifest_wants_it() {
        let plan = plan("---\negress_proxy: {telemetry: true}\n---\n", &[]);
        assert!(plan.env.public.is_empty());
        assert_eq!(plan.egress.routes.iter().filter(|route| route.host.to_string() == "sentry.io").count(), 1);
    }

    #[test]
    fn a_command_of_the_manifest_is_run_as_it_stands() {
        let plan = plan("---\ncommand: [sh, -c, 'echo hi']\negress_proxy: {defaults: off}\n---\n", &[]);
        assert_eq!(plan.command.argv("/p"), ["sh", "-c", "echo hi", "--model", "opus"]);
        assert!(plan.env.public.is_empty() && plan.egress.routes.is_empty());
    }
}

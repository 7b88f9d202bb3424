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
    let egress = egress::resolve(bottle, host, &identity, &mut problems);
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
        dlp: effective_dlp(spec, bottle),
        images: images(bottle, host),
        command,
        workdir: spec.workdir.clone(),
    })
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
    if let Err(error) = fs::File::open(&path) {
        let error = key.at.error(format!("the key `{}` cannot be read: {error}", host.shorten(&path)));
        problems.push(&key.source, error.with_hint("name the private key, not the one that ends in `.pub`"));
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

fn command(spec: &Spec, bottle: &Bottle) -> AgentCommand {
    let program = match &bottle.command {
        Some(words) => AgentProgram::Custom(words.clone()),
        None => AgentProgram::ClaudeCode { control: spec.control, session: Session::New },
    };
    AgentCommand { program, arguments: spec.arguments.clone() }
}

/// The command line's choice, else the manifest's, else the strongest.
pub fn effective_dlp(spec: &Spec, bottle: &Bottle) -> crate::spec::Dlp {
    spec.dlp.or(bottle.dlp).unwrap_or_default()
}

fn images(bottle: &Bottle, host: &Host) -> Images {
    let images = host.images();
    Images { agent: images.agent.or_else(|| bottle.image.clone()), ..images }
}

fn paths(home: &Home, identity: &Identity) -> Paths {
    Paths { state: home.state(identity), queue: home.queue(identity), audit: home.audit() }
}

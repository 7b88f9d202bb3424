//! The documentation is true: its manifests are loaded, its commands are run, and what they print is what it shows. Run with
//! `UPDATE_DOCS=1` to write the outputs anew.

use std::path::{Path, PathBuf};

use crate::context::Context;

#[test]
fn what_cli_md_shows_is_what_bottle_prints() {
    check("cli.md");
}

#[test]
fn what_configuration_md_shows_is_what_bottle_prints() {
    check("configuration.md");
}

#[test]
fn cli_md_names_every_verb_and_host_variable() {
    let text = std::fs::read_to_string(path("cli.md")).expect("a page");
    let help = Context::new().run(&["--help"]);
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for verb in verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
        assert!(text.contains(&format!("`{verb}")), "no `{verb}` in cli.md");
    }
    for variable in [launcher::host::HOME, launcher::host::BACKEND, launcher::host::IMAGE, launcher::host::PIPELOCK_BIN]
    {
        assert!(text.contains(&format!("`{variable}`")), "no `{variable}` in cli.md");
    }
}

fn check(page: &str) {
    let written = std::fs::read_to_string(path(page)).expect("a page");
    let told = retell(&written);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(page), told).expect("the page is written");
        return;
    }
    for (number, (written, told)) in written.lines().zip(told.lines()).enumerate() {
        assert_eq!(written, told, "{page}, line {}; `UPDATE_DOCS=1` writes it anew", number + 1);
    }
    assert_eq!(written.lines().count(), told.lines().count(), "{page}");
}

/// The page with the outputs of its commands as they are.
fn retell(page: &str) -> String {
    let mut context = Context::new();
    context.write("user/.claude/skills/review/SKILL.md", "# Review\n");
    let mut told = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        told.push_str(line);
        told.push('\n');
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if kind == "console" {
            for command in block.iter().filter(|line| line.starts_with("$ ")) {
                told.push_str(&format!("{command}\n{}", run(&mut context, &command[2..])));
            }
        } else {
            if let Some(file) = kind.strip_prefix("markdown ") {
                context.write(&format!("user/.claude-bottle/{file}"), &format!("{}\n", block.join("\n")));
            }
            block.iter().for_each(|line| told.push_str(&format!("{line}\n")));
        }
        told.push_str("```\n");
    }
    told
}

fn run(context: &mut Context, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["export", assignment] => {
            let (name, value) = assignment.split_once('=').expect("NAME=VALUE");
            context.set(name, value);
            String::new()
        }
        ["bottle", arguments @ ..] => {
            let output = context.command(arguments).output().expect("bottle runs");
            [output.stdout, output.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat()
        }
        _ => panic!("`{command}` is no command of a page"),
    }
}

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page)
}

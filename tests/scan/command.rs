//! `egress-proxy scan`.

use std::{fs, process::Command};

use clap::Parser;
use egress_proxy::scan::command::{FOUND, ScanArgs, run};

use crate::{
    generate::{Dice, secret},
    matrix::SCANNER,
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ScanArgs,
}

/// What the verb prints for a text on stdin, and its exit code.
fn scan(arguments: &[&str], text: &str) -> (u8, String) {
    let line = Line::parse_from([&["scan"], arguments].concat());
    let mut out = Vec::new();
    let code = run(&line.args, &mut text.as_bytes(), &mut out).expect("the scan runs");
    (code, String::from_utf8(out).expect("the output is text"))
}

fn key() -> String {
    let rule = SCANNER.rules().find(|rule| rule.id() == "aws-access-key").expect("the rule is there");
    secret(rule, &mut Dice::new(1))
}

#[test]
fn clean_text_exits_with_0_and_says_nothing() {
    assert_eq!(scan(&[], "nothing here\n"), (0, String::new()));
}

#[test]
fn a_finding_points_at_its_place_and_does_not_show_it() {
    let (code, out) = scan(&[], &format!("first\nkey = {}\n", key()));
    assert_eq!(code, FOUND);
    assert_eq!(
        out,
        "an AWS access key id (rule `aws-access-key`) in the content, byte 12\n --> stdin:2:7\n2 | key = […]\n  |       ^\n"
    );
}

#[test]
fn json_tells_programs_the_same() {
    let (code, out) = scan(&["--json", "--as", "query"], &format!("q={}", key()));
    assert_eq!(code, FOUND);
    let line: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!((&line["rule"], &line["place"]), (&"aws-access-key".into(), &"the query".into()));
}

#[test]
fn a_rule_can_be_left_out_and_all_are_listed() {
    assert_eq!(scan(&["--except", "aws-access-key"], &key()).0, 0);
    let (_, list) = scan(&["--rules"], "");
    assert_eq!(list.lines().count(), SCANNER.rules().count());
}

/// `docs/scan.md` is what `--rules --markdown` prints.
#[test]
fn the_documentation_lists_the_rules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scan.md");
    let written = fs::read_to_string(path).unwrap_or_default();
    let (_, printed) = scan(&["--rules", "--markdown"], "");
    assert!(
        written == printed,
        "docs/scan.md is not up to date: `egress-proxy scan --rules --markdown > docs/scan.md`"
    );
}

#[test]
fn the_binary_passes_the_exit_code_on() {
    let binary = env!("CARGO_BIN_EXE_egress-proxy-under-test");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("dirty");
    fs::write(&file, key()).expect("the file can be written");
    let status = Command::new(binary).arg("scan").arg(&file).output().expect("the binary runs").status;
    assert_eq!(status.code(), Some(i32::from(FOUND)));
}

//! `egress-proxy scan`.

use std::{fs, process::Command};

use clap::Parser;
use egress_proxy::scan::command::{CommandError, FOUND, ScanArgs, run};

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

/// What `git cat-file --batch` prints for one object.
fn object(kind: &str, path: &str, content: &[u8]) -> Vec<u8> {
    let announcement = format!("{NAME} {kind} {} {path}\n", content.len());
    [announcement.as_bytes(), content, b"\n"].concat()
}

fn objects(stream: &[u8]) -> Result<(u8, String), CommandError> {
    let line = Line::parse_from(["scan", "--objects"]);
    let mut out = Vec::new();
    let code = run(&line.args, &mut &stream[..], &mut out)?;
    Ok((code, String::from_utf8(out).expect("the output is text")))
}

#[test]
fn every_kind_of_git_object_is_judged_and_named_with_its_place() {
    let tree = [b"100644 ".as_slice(), key().as_bytes(), b"\0", &[7; 20]].concat();
    for (kind, path, content, told) in [
        ("blob", "config/prod.env", format!("key={}\n", key()).into_bytes(), "config/prod.env (blob 0123456789ab): "),
        ("commit", "", format!("tree 00\n\nuse {}\n", key()).into_bytes(), "commit 0123456789ab: "),
        ("tag", "v1", format!("object 00\n\n{}\n", key()).into_bytes(), "v1 (tag 0123456789ab): "),
        ("tree", "config", tree, "config (tree 0123456789ab): "),
    ] {
        let stream = [object("blob", "clean", b"nothing"), object(kind, path, &content)].concat();
        let (code, out) = objects(&stream).expect("a stream of objects");
        assert_eq!(code, FOUND, "{kind}");
        assert!(out.starts_with(told) && out.lines().count() == 1, "{out}");
        assert!(!out.contains(&key()), "{out}");
    }
    let (_, out) = objects(&object("blob", &key(), key().as_bytes())).expect("a stream of objects");
    assert!(out.starts_with("blob 0123456789ab: "), "a path that is a secret is not told: {out}");
    assert_eq!(objects(b"").expect("no object at all"), (0, String::new()));
}

#[test]
fn objects_that_are_not_whole_are_no_clean_ones() {
    let whole = object("blob", "a", b"nothing here");
    for stream in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() - 5],
        format!("{NAME} missing\n").as_bytes(),
        &object("blob", "a", b"x")[..20],
        &object("tree", "a", b"100644 name-without-an-end"),
        &object("commit-graph", "a", b"x"),
        &[whole.as_slice(), b"surplus"].concat(),
    ] {
        assert!(objects(stream).is_err(), "{}", String::from_utf8_lossy(stream));
    }
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

const NAME: &str = "0123456789abcdef0123456789abcdef01234567";

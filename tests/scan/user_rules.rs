//! A user's own rules, in the format of gitleaks.

use std::{fs, sync::Arc};

use egress_proxy::scan::{ExactValues, Exemptions, Finding, RulesFile, Scanner};

fn scanner(text: &str) -> Result<Scanner, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("rules.toml");
    fs::write(&path, text).expect("the file can be written");
    let file = RulesFile::own(&path).map_err(|error| error.to_string())?;
    Ok(Scanner::new(Some(file), ExactValues::default()))
}

fn judge(scanner: Scanner, text: &str) -> Option<Finding> {
    let mut scan = Arc::new(scanner).content(&http::HeaderMap::new(), Exemptions::default());
    scan.push(text.to_owned().into()).and_then(|_| scan.finish()).err()
}

const RULE: &str = r#"
[extend]
useDefault = true
disabledRules = ["npm-token"]

[[rules]]
id = "acme-key"
description = "an ACME key"
regex = '''(?i)acme[_-]key\s*=\s*['"]?([a-z0-9]{16})'''
keywords = ["acme"]
entropy = 3.0
secretGroup = 1

[[rules.allowlists]]
stopwords = ["abcdef"]
"#;

#[test]
fn a_users_rule_finds_what_it_describes() {
    let found = judge(scanner(RULE).unwrap(), "x ACME_KEY = 'q7w9e2r4t6y8u1i3' y").expect("it is found");
    assert_eq!(found.rule, "acme-key");
    assert!(judge(scanner(RULE).unwrap(), "ACME_KEY = 'aaaaaaaaaaaaaaaa'").is_none(), "entropy");
    assert!(judge(scanner(RULE).unwrap(), "ACME_KEY = 'q7w9abcdef6y8u1i'").is_none(), "stopword");
}

#[test]
fn a_short_keyword_is_found_in_any_case_whatever_follows_it() {
    let rule = "[[rules]]\nid = 'pin'\nregex = '(?i)pin[ =:]{1,3}([0-9]{8})'\nkeywords = ['Pin']\n";
    for text in ["pin=84736251", "PIN: 84736251", "pIn = 84736251", "Pin 84736251"] {
        assert!(judge(scanner(rule).unwrap(), text).is_some(), "{text}");
    }
}

#[test]
fn a_rule_without_a_sign_near_its_keyword_finds_what_it_describes_in_a_long_text() {
    let rules = [
        (r#"(?i)пароль\s*[:=]\s*(\S{8,40})"#, "пароль", " пароль: q!w#e$r%t^ "),
        (r#"[a-z]{2,10}:[^\s/@"'<>`]{8,40}@db\.corp\.test"#, "db.corp.test", "x = \"bob:p!a#s$s^w^d&1@db.corp.test\""),
        (r#"(?i)pin[ =:]{1,3}([0-9]{8})"#, "pin ", "a pin 84736251 "),
        (r#"code [0-9]{2}:[0-9]{2}"#, "code ", "a code 84:73 "),
    ];
    let filler = "so it goes on and on as it was, ".repeat(200);
    for (regex, keyword, text) in rules {
        for extend in ["", "[extend]\nuseDefault = true\n"] {
            let rule = format!("{extend}[[rules]]\nid = 'own'\nregex = '''{regex}'''\nkeywords = ['{keyword}']\n");
            let found = judge(scanner(&rule).unwrap(), &format!("{filler}{text}{filler}"));
            assert_eq!(found.map(|found| found.rule).as_deref(), Some("own"), "{regex}");
        }
    }
}

#[test]
fn extending_keeps_the_built_in_rules_but_those_turned_off() {
    let scanner = scanner(RULE).unwrap();
    let ids: Vec<&str> = scanner.rules().map(|rule| rule.id()).collect();
    assert!(ids.contains(&"github-token") && ids.contains(&"acme-key") && !ids.contains(&"npm-token"));
    let alone = crate::user_rules::scanner("[[rules]]\nid = \"a\"\nregex = 'acme[0-9]{9}'\nkeywords = ['acme']\n");
    assert_eq!(alone.unwrap().rules().count(), 1);
}

#[test]
fn what_cannot_be_supported_is_an_error_with_its_line() {
    for (rule, line, message) in [
        ("regex = '(?<=x)acme'\nkeywords = ['acme']", 3, "look-arounds"),
        ("regex = 'acme(?!x)'\nkeywords = ['acme']", 3, "look-arounds"),
        ("path = '\\.env$'\nregex = 'acme'\nkeywords = ['acme']", 3, "`path` cannot be supported"),
        ("regex = 'acme('\nkeywords = ['acme']", 3, "regular expression"),
        ("regex = '[a-z]{20}'", 3, "`keywords`"),
        ("regex = 'acme'\nkeyword = ['acme']", 4, "unknown field `keyword`"),
        ("id = 'credential/acme'\nregex = 'acme'\nkeywords = ['acme']", 2, "values of the proxy's own"),
        ("regex = 'acme'\nkeywords = ['acme']\n[[rules.allowlists]]\npaths = ['x']", 6, "file path"),
    ] {
        let id = if rule.starts_with("id") { "" } else { "id = 'acme'\n" };
        let error = scanner(&format!("[[rules]]\n{id}{rule}\n")).err().expect("it is refused");
        assert!(error.contains(message), "{error}");
        assert!(error.contains(&format!("rules.toml:{line}:")), "{error}");
    }
}

#[test]
fn an_exemption_that_names_no_rule_is_an_error_with_a_suggestion() {
    let scanner = Scanner::builtin();
    let error = scanner.exemptions(&["github-tokn".to_owned()]).unwrap_err();
    assert_eq!(error.to_string(), "there is no scan rule `github-tokn`; did you mean `github-token`?");
}

#[test]
fn exempt_rules_do_not_apply() {
    let scanner = Arc::new(scanner(RULE).unwrap());
    let except = scanner.exemptions(&["acme-key".to_owned()]).unwrap();
    let mut scan = scanner.content(&http::HeaderMap::new(), except);
    assert!(scan.push("ACME_KEY=q7w9e2r4t6y8u1i3".into()).and_then(|_| scan.finish()).is_ok());
}

#[test]
fn held_credentials_are_found_in_all_their_forms() {
    use base64::{
        Engine,
        prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
    };
    let value = "p\"ss/word?&Ünïcode+42";
    let mut values = ExactValues::default();
    values.add("GH_PAT", value.as_bytes());
    let scanner = Arc::new(Scanner::new(None, values));
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut texts = vec![value.to_owned(), serde_json::to_string(value).unwrap(), hex.to_uppercase(), hex, percent];
    for lead in ["", "x", "xy"] {
        texts.push(BASE64_STANDARD.encode(format!("{lead}{value} end")));
        texts.push(BASE64_URL_SAFE.encode(format!("{lead}{value} end")));
    }
    for text in texts {
        let mut scan = scanner.content(&http::HeaderMap::new(), Exemptions::default());
        let verdict = scan.push(format!("a: {text} b").into()).and_then(|_| scan.finish());
        let finding = verdict.err().unwrap_or_else(|| panic!("not found: {text}"));
        assert_eq!(finding.rule, "credential/GH_PAT");
        assert!(!finding.to_string().contains("word"));
    }
}

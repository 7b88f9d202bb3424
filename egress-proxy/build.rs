//! Reads the rules that we ship and writes down what they say as constants, so that a broken rule stops the build and
//! none costs anything when the proxy starts. `src/scan/rules/shipped.rs` includes the result.

use std::{
    collections::HashSet,
    env,
    error::Error,
    fmt::{self, Write},
    fs,
    path::Path,
};

use scan_rules::{Allowlist, Anchor, ByteSet, Definition, Expression, GROUPS, Keyword, Packed, anchors, shipped};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("rules");
    for group in GROUPS {
        println!("cargo::rerun-if-changed=rules/{group}.toml");
    }
    let rules = shipped(&directory).map_err(|error| Broken(error.to_string()))?;
    let mut ids = HashSet::new();
    if let Some(twice) = rules.iter().find(|rule| !ids.insert(&rule.id)) {
        return Err(Broken(format!("the rule `{}` is there twice", twice.id)).into());
    }
    let (anchors, patterns) = anchors(0, rules.iter().map(|rule| (&*rule.keywords, rule.ground())));
    let packed = patterns.build();
    let directory = env::var("OUT_DIR")?;
    fs::write(Path::new(&directory).join("shipped.rs"), constants(&rules, &anchors, &packed)?)?;
    fs::write(Path::new(&directory).join("records"), &packed.records)?;
    Ok(())
}

/// What is wrong with a rules file, shown as it reads.
struct Broken(String);

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a rules file is broken\n{}", self.0)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Error for Broken {}

fn constants(rules: &[Definition], anchors: &[Anchor], packed: &Packed) -> Result<String, fmt::Error> {
    let mut out = String::from("use std::borrow::Cow::Borrowed;\n");
    writeln!(out, "pub(super) static RULES: [Definition; {}] = {};", rules.len(), array(rules, definition))?;
    writeln!(out, "pub(super) static ANCHORS: [Anchor; {}] = {};", anchors.len(), array(anchors, anchor))?;
    writeln!(out, "pub(super) static SIEVE: Sieve = {:?};", packed.sieve())?;
    writeln!(out, "pub(super) static STARTS: [u32; {}] = {:?};", packed.starts.len(), packed.starts)?;
    writeln!(out, "pub(super) static ENTRIES: [u64; {}] = {:?};", packed.entries.len(), packed.entries)?;
    writeln!(out, "pub(super) static EVERYWHERE: [u32; {}] = {:?};", packed.everywhere.len(), packed.everywhere)?;
    writeln!(out, "pub(super) const BITS: u32 = {};", packed.bits)?;
    Ok(out)
}

fn definition(rule: &Definition) -> String {
    let Definition { id, description, group, source, check, expression: regex, keywords, entropy, allowlists } = rule;
    format!(
        "Definition {{ id: Borrowed({id:?}), description: Borrowed({description:?}), group: Borrowed({group:?}), \
         source: {}, check: {}, expression: {}, keywords: {}, entropy: {entropy:?}, allowlists: {} }}",
        option(source.as_ref(), |text| format!("Borrowed({text:?})")),
        option(check.as_ref(), |check| format!("Structure::{check:?}")),
        option(regex.as_ref(), expression),
        list(keywords, keyword),
        list(allowlists, allowlist),
    )
}

fn expression(expression: &Expression) -> String {
    let Expression { text, group, shape } = expression;
    format!(
        "Expression {{ text: Borrowed({text:?}), group: {group:?}, \
         shape: Shape {{ start: Start::{:?}, longest: {}, lead: {}, tail: {}, needs: {:?}, \
         ground: Ground::{:?}, run: {:?} }} }}",
        shape.start,
        shape.longest,
        list(&shape.lead, bytes),
        option(shape.tail.as_ref(), bytes),
        shape.needs,
        shape.ground,
        shape.run,
    )
}

fn allowlist(allowed: &Allowlist) -> String {
    let Allowlist { condition, target, expressions, stopwords } = allowed;
    let text = |text: &scan_rules::Text| format!("Borrowed({text:?})");
    format!(
        "Allowlist {{ condition: Condition::{condition:?}, target: Target::{target:?}, expressions: {}, stopwords: {} }}",
        list(expressions, text),
        list(stopwords, text),
    )
}

fn anchor(anchor: &Anchor) -> String {
    let Anchor { keyword: text, core, ground, rules } = anchor;
    format!(
        "Anchor {{ keyword: {}, core: {core}, ground: Ground::{ground:?}, rules: Borrowed(&{rules:?}) }}",
        keyword(text)
    )
}

/// Without its completions, which the patterns hold.
fn keyword(keyword: &Keyword) -> String {
    let Keyword { text, case, .. } = keyword;
    format!("Keyword {{ text: Borrowed(&{text:?}), case: Case::{case:?}, completions: Vec::new() }}")
}

fn bytes(set: &ByteSet) -> String {
    format!("ByteSet({:?})", set.0)
}

fn option<T>(value: Option<T>, written: impl FnOnce(T) -> String) -> String {
    value.map_or("None".to_owned(), |value| format!("Some({})", written(value)))
}

fn list<T>(values: &[T], written: fn(&T) -> String) -> String {
    format!("Borrowed(&{})", array(values, written))
}

fn array<T>(values: &[T], written: fn(&T) -> String) -> String {
    let values: Vec<String> = values.iter().map(written).collect();
    format!("[{}]", values.join(",\n"))
}

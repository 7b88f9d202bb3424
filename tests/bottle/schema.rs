//! `bottle schema`: what editors are told is what `bottle` reads, key by key.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::context::Context;

#[test]
fn the_schemas_know_the_keys_that_are_read() {
    let (bottle, agent) = (schema("bottle"), schema("agent"));
    let levels = [
        ("bottle", "zzqq: 1", &bottle["properties"]),
        ("bottle", "egress_proxy: {zzqq: 1}", &bottle["properties"]["egress_proxy"]["properties"]),
        ("bottle", "egress_proxy: {routes: [{host: a.example, zzqq: 1}]}", &bottle["$defs"]["route"]["properties"]),
        (
            "bottle",
            "egress_proxy: {routes: [{host: a.example, auth: {scheme: Bearer, token_ref: A, zzqq: 1}}]}",
            &bottle["$defs"]["auth"]["properties"],
        ),
        (
            "bottle",
            "egress_proxy: {routes: [{host: a.example, matches: [{methods: [GET], zzqq: 1}]}]}",
            &bottle["$defs"]["match"]["properties"],
        ),
        ("bottle", "git: [{zzqq: 1}]", &bottle["$defs"]["git"]["properties"]),
        ("agent", "{bottle: dev, zzqq: 1}", &agent["properties"]),
    ];
    for (kind, manifest, properties) in levels {
        let told: BTreeSet<String> = properties.as_object().expect("properties").keys().cloned().collect();
        let read: BTreeSet<String> = known_keys(kind, manifest).difference(&legacy()).cloned().collect();
        assert_eq!(told, read, "{manifest}");
    }
}

#[test]
fn schemas_say_which_dialect_they_are() {
    for kind in ["agent", "bottle"] {
        assert_eq!(schema(kind)["$schema"], "https://json-schema.org/draft/2020-12/schema", "{kind}");
    }
}

fn schema(kind: &str) -> Json {
    let output = Context::new().command(&["schema", kind]).output().expect("bottle runs");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The keys that an error about `zzqq` lists as known.
fn known_keys(kind: &str, manifest: &str) -> BTreeSet<String> {
    let context = Context::new();
    let text = format!("---\n{manifest}\n---\n");
    match kind {
        "agent" => context.agent("impl", &text),
        _ => {
            context.bottle("dev", &text);
            context.agent("impl", "---\nbottle: dev\n---\n");
        }
    }
    let outcome = context.run(&["info", "impl"]);
    let mut after = outcome.lines().skip_while(|line| !line.contains("unknown key `zzqq`"));
    let hint = after.find(|line| line.contains("known here: ")).unwrap_or_else(|| panic!("{outcome}"));
    let (_, listed) = hint.split_once("known here: ").expect("a list");
    listed.split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

fn legacy() -> BTreeSet<String> {
    ["tokens", "cred_proxy", "egress", "ssh", "runtime"].map(str::to_owned).into()
}

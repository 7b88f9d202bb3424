//! `bottle schema`: the JSON Schema of a manifest's frontmatter, for editors. The route's part is the proxy's own schema, in
//! the manifest's dialect.

use serde_json::{Value as Json, json};

use super::print_json;
use crate::cli::{SchemaArgs, SchemaKind};
use crate::exit::Exit;
use crate::printer::Printer;

pub(super) fn run(args: &SchemaArgs, printer: Printer) -> Exit {
    let schema = match args.kind {
        SchemaKind::Agent => agent(),
        SchemaKind::Bottle => bottle(),
    };
    print_json(&schema, printer);
    Exit::Success
}

fn agent() -> Json {
    serde_json::from_str(include_str!("schema/agent.json")).unwrap_or_default()
}

fn bottle() -> Json {
    let mut schema: Json = serde_json::from_str(include_str!("schema/bottle.json")).unwrap_or_default();
    let routes: Json = serde_json::from_str(shared::routes::SCHEMA).unwrap_or_default();
    let mut definitions = routes["$defs"].clone();
    let auth = &mut definitions["auth"];
    auth["required"] = json!(["scheme", "token_ref"]);
    if let Some(auth) = auth.as_object_mut() {
        auth.remove("oneOf");
    }
    if let Some(properties) = auth["properties"].as_object_mut() {
        properties.remove("token_env");
        properties.remove("token_file");
    }
    auth["properties"]["token_ref"] =
        json!({"$ref": "#/$defs/variable", "description": "The host's variable that holds the token."});
    auth["properties"]["placeholder"] =
        json!({"$ref": "#/$defs/variable", "description": "The agent's variable that gets a stand-in for the token."});
    if let (Some(ours), Json::Object(theirs)) = (schema["$defs"].as_object_mut(), definitions) {
        ours.extend(theirs);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemas_are_whole() {
        for schema in [agent(), bottle()] {
            assert_eq!(schema["type"], "object");
            assert_eq!(schema["additionalProperties"], false);
        }
        let auth = &bottle()["$defs"]["auth"];
        assert!(auth["properties"].get("token_env").is_none());
        assert_eq!(auth["required"], json!(["scheme", "token_ref"]));
        assert!(bottle()["$defs"]["route"].is_object());
    }
}

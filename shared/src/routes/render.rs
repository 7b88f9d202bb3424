//! [`Routes`] → JSON, the form in which the launcher hands a table to the proxy and the proxy shows it. The result reads
//! back as the same table. Never holds a value of a credential: a table has none.

use serde_json::{Map, Value, json};

use super::{AuthScheme, CredentialSource, FieldValueRule, Match, PathRule, PathRules, Ports, Route, Routes};

impl Routes {
    /// A mapping with the key `routes`, as [`super::decode`] reads it.
    pub fn to_json(&self) -> Value {
        json!({ "routes": self.iter().map(|route| route.to_json()).collect::<Vec<_>>() })
    }
}

impl Route {
    fn to_json(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
        put("host", json!(self.host.to_string()));
        match &self.ports {
            Ports::Default => None,
            Ports::Any => put("ports", json!("any")),
            Ports::Listed(ports) => put("ports", json!(ports)),
        };
        match &self.paths {
            PathRules::Any => None,
            PathRules::Prefixes(rules) => put("path_allowlist", rules.iter().map(|rule| json!(rule.value())).collect()),
            PathRules::Matches(matches) => put("matches", matches.iter().map(Match::to_json).collect()),
        };
        if let Some(auth) = &self.auth {
            let mut fields = Map::new();
            fields.insert("scheme".to_owned(), json!(auth.scheme.name()));
            match &auth.scheme {
                AuthScheme::Basic { username: Some(name) } => fields.insert("username".to_owned(), json!(name)),
                AuthScheme::Header(name) => fields.insert("header".to_owned(), json!(name.as_str())),
                AuthScheme::Query { parameter } => fields.insert("parameter".to_owned(), json!(parameter)),
                _ => None,
            };
            let (key, value) = match &auth.source {
                CredentialSource::Env(name) => ("token_env", name.clone()),
                CredentialSource::File(path) => ("token_file", path.display().to_string()),
                CredentialSource::HostVariable(name) => ("token_ref", name.clone()),
            };
            fields.insert(key.to_owned(), json!(value));
            if let Some(name) = &auth.placeholder {
                fields.insert("placeholder".to_owned(), json!(name));
            }
            put("auth", Value::Object(fields));
        }
        if !self.keep.is_empty() {
            put("keep", self.keep.iter().map(|name| json!(name.as_str())).collect());
        }
        if let Some(mode) = self.inspect {
            put("inspect", json!(mode.name()));
        }
        if let Some(mode) = self.scan {
            put("scan", json!(mode.name()));
        }
        if !self.scan_except.is_empty() {
            put("scan_except", json!(self.scan_except));
        }
        Value::Object(entry)
    }
}

impl Match {
    fn to_json(&self) -> Value {
        let mut entry = Map::new();
        if !self.methods.is_empty() {
            entry.insert("methods".to_owned(), json!(self.methods));
        }
        if !self.paths.is_empty() {
            let paths = self.paths.iter().map(|rule| json!({ "type": rule.kind(), "value": rule.value() })).collect();
            entry.insert("paths".to_owned(), paths);
        }
        if !self.headers.is_empty() {
            let rule = |kind: &str, name: &str, value: &str| json!({ "name": name, "type": kind, "value": value });
            let headers = self.headers.iter().map(|field| match &field.value {
                FieldValueRule::Exact(value) => {
                    rule("exact", field.name.as_str(), &String::from_utf8_lossy(value.as_bytes()))
                }
                FieldValueRule::Regex { source, .. } => rule("regex", field.name.as_str(), source),
            });
            entry.insert("headers".to_owned(), headers.collect());
        }
        Value::Object(entry)
    }
}

impl PathRule {
    fn kind(&self) -> &'static str {
        match self {
            Self::Exact(_) => "exact",
            Self::Prefix(_) => "prefix",
            Self::Regex { .. } => "regex",
        }
    }

    fn value(&self) -> &str {
        match self {
            Self::Exact(value) | Self::Prefix(value) => value,
            Self::Regex { source, .. } => source,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        routes::{Dialect, decode},
        yaml::Diagnostics,
    };

    #[test]
    fn a_rendered_table_reads_back_as_itself() {
        let text = r#"{"routes":[
            {"host":"a.example","ports":[443,8443],"path_allowlist":["/a/","/b"],
             "auth":{"scheme":"Basic","username":"ada","token_env":"T","placeholder":"P"},"inspect":"off","scan":"record","scan_except":["jwt"]},
            {"host":"*.b.example","ports":"any","keep":["authorization"],
             "matches":[{"methods":["GET"],"paths":[{"type":"exact","value":"/x"},{"type":"regex","value":"/y[0-9]+"}],
                         "headers":[{"name":"accept","type":"regex","value":"a.*"}]}]},
            {"host":"c.example","auth":{"scheme":"header","header":"x-key","token_file":"/run/key"}},
            {"host":"d.example","auth":{"scheme":"query","parameter":"key","token_env":"T"}}]}"#;
        let mut log = Diagnostics::default();
        let routes = decode(text, Dialect::Proxy, &mut log).unwrap();
        assert_eq!(routes.to_json(), serde_json::from_str::<serde_json::Value>(text).unwrap());
    }
}

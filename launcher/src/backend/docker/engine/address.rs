//! Where the engine is, found as the docker client finds it: `DOCKER_HOST`, else the context that `DOCKER_CONTEXT` or the
//! client's configuration names, else the first default socket that is there. Reads files and connects to nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::EngineError;

/// What the search looks at.
pub(super) struct Surroundings<'a> {
    /// A variable of the environment; an empty one counts as missing.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) exists: &'a dyn Fn(&Path) -> bool,
}

/// The engine's address, as in `DOCKER_HOST`.
///
/// # Errors
/// A context that is nowhere, or not to be read, or asks for what we do not speak.
pub(super) fn find(surroundings: &Surroundings<'_>) -> Result<String, EngineError> {
    let variable = surroundings.variable;
    if let Some(host) = variable("DOCKER_HOST") {
        // The docker client would speak TLS there; we never speak in clear in its place.
        return match host.starts_with("tcp:") && variable("DOCKER_TLS_VERIFY").is_some() {
            true => Err(EngineError::Tls { host, origin: "DOCKER_TLS_VERIFY".to_owned() }),
            false => Ok(host),
        };
    }
    let home = variable("HOME").map(PathBuf::from);
    let folder = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".docker")));
    let context = match (variable("DOCKER_CONTEXT"), &folder) {
        (Some(name), _) => Some(name),
        (None, Some(folder)) => current_context(&folder.join("config.json"))?,
        (None, None) => None,
    };
    match context.filter(|name| name != DEFAULT) {
        Some(name) => context_host(&name, &folder.unwrap_or_default()),
        None => Ok(default_socket(home.as_deref(), surroundings)),
    }
}

/// The part of the client's configuration that we read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    current_context: Option<String>,
}

fn current_context(file: &Path) -> Result<Option<String>, EngineError> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(None) };
    let configuration: Result<Configuration, _> = serde_json::from_str(&text);
    let configuration = configuration.map_err(|source| EngineError::Context { file: file.to_owned(), source })?;
    Ok(configuration.current_context.filter(|name| !name.is_empty()))
}

/// `contexts/meta/SHA256-OF-NAME/meta.json`, as far as we read it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
}

fn context_host(name: &str, folder: &Path) -> Result<String, EngineError> {
    let hash = digest(&SHA256, name.as_bytes()).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let file = folder.join("contexts/meta").join(&hash).join("meta.json");
    let text = fs::read_to_string(&file);
    let text = text.map_err(|source| EngineError::NoContext { name: name.to_owned(), file: file.clone(), source })?;
    let context: Context = serde_json::from_str(&text).map_err(|source| EngineError::Context { file, source })?;
    let host = context.endpoints.docker.host;
    if host.starts_with("tcp:") && folder.join("contexts/tls").join(hash).join("docker").is_dir() {
        return Err(EngineError::Tls { host, origin: format!("context `{name}`") });
    }
    Ok(host)
}

fn default_socket(home: Option<&Path>, surroundings: &Surroundings<'_>) -> String {
    let runtime = (surroundings.variable)("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = [
        Some(PathBuf::from(SYSTEM_SOCKET)),
        runtime.as_ref().map(|folder| folder.join("docker.sock")),
        home.map(|home| home.join(".docker/run/docker.sock")),
        runtime.as_ref().map(|folder| folder.join("podman/podman.sock")),
        Some(PathBuf::from(PODMAN_SOCKET)),
    ];
    let found = candidates.into_iter().flatten().find(|path| (surroundings.exists)(path));
    format!("unix://{}", found.unwrap_or_else(|| SYSTEM_SOCKET.into()).display())
}

/// The context that means none.
const DEFAULT: &str = "default";

const SYSTEM_SOCKET: &str = "/var/run/docker.sock";
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], sockets: &[&str]) -> Result<String, EngineError> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        let exists = |path: &Path| sockets.iter().any(|socket| Path::new(socket) == path);
        find(&Surroundings { variable: &variable, exists: &exists })
    }

    /// A home with a context `far`, which is current.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let meta = home.path().join(".docker/contexts/meta").join(SHA256_OF_FAR);
        fs::create_dir_all(&meta).unwrap();
        fs::write(home.path().join(".docker/config.json"), r#"{"auths": {}, "currentContext": "far"}"#).unwrap();
        let text =
            r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///far.sock","SkipTLSVerify":false}}}"#;
        fs::write(meta.join("meta.json"), text).unwrap();
        home
    }

    #[test]
    fn the_variable_comes_before_the_context_and_the_context_before_the_sockets() {
        let home = home();
        let home = home.path().to_str().unwrap();
        let sockets = ["/var/run/docker.sock"];
        assert_eq!(found(&[("HOME", home), ("DOCKER_HOST", "tcp://h:1")], &sockets).unwrap(), "tcp://h:1");
        assert_eq!(found(&[("HOME", home)], &sockets).unwrap(), "unix:///far.sock");
        let own = [("HOME", home), ("DOCKER_CONTEXT", "default")];
        assert_eq!(found(&own, &sockets).unwrap(), "unix:///var/run/docker.sock");
        let config = format!("{home}/.docker");
        assert_eq!(found(&[("DOCKER_CONFIG", &config)], &sockets).unwrap(), "unix:///far.sock");
    }

    #[test]
    fn a_context_that_is_nowhere_is_an_error_and_never_another_engine() {
        let home = home();
        let variables = [("HOME", home.path().to_str().unwrap()), ("DOCKER_CONTEXT", "near")];
        assert!(
            matches!(found(&variables, &["/var/run/docker.sock"]), Err(EngineError::NoContext { name, .. }) if name == "near")
        );
        fs::write(home.path().join(".docker/config.json"), "{").unwrap();
        assert!(matches!(found(&variables[..1], &[]), Err(EngineError::Context { .. })));
    }

    #[test]
    fn where_the_docker_client_would_speak_tls_nobody_speaks_in_clear() {
        let variables = [("DOCKER_HOST", "tcp://h:2376"), ("DOCKER_TLS_VERIFY", "1")];
        assert!(matches!(found(&variables, &[]), Err(EngineError::Tls { .. })));
    }

    #[test]
    fn the_first_socket_that_is_there_is_taken_podmans_after_dockers() {
        let variables = [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        for (sockets, address) in [
            (vec![], "unix:///var/run/docker.sock"),
            (vec!["/run/podman/podman.sock"], "unix:///run/podman/podman.sock"),
            (
                vec!["/run/podman/podman.sock", "/run/user/1/podman/podman.sock"],
                "unix:///run/user/1/podman/podman.sock",
            ),
            (vec!["/run/user/1/podman/podman.sock", "/h/.docker/run/docker.sock"], "unix:///h/.docker/run/docker.sock"),
            (vec!["/h/.docker/run/docker.sock", "/run/user/1/docker.sock"], "unix:///run/user/1/docker.sock"),
            (vec!["/run/user/1/docker.sock", "/var/run/docker.sock"], "unix:///var/run/docker.sock"),
        ] {
            assert_eq!(found(&variables, &sockets).unwrap(), address);
        }
    }

    /// As the docker client names the folder of the context `far`.
    const SHA256_OF_FAR: &str = "512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868";
}

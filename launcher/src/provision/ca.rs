//! The bottle's CA in the agent's trust: the script that puts the certificate into the system's store (Debian, Alpine, RHEL) and a
//! JVM's, tells the system who its neighbours are, and tries it out; and the variables by which programs with a store of their own find it.
//! Never holds the CA's key.

use std::net::IpAddr;

use shared::contract::{PROXY_ALIAS, PROXY_PORT};

use super::Account;
use crate::archive::Owner;

/// The command that makes the system trust the certificate; run as root. What it prints first is for [`Survey::read`]; then it
/// reads [`hosts`] from its standard input, and prints [`REACHED`] when a client that the image has, if any, has sent a request
/// to the proxy's own host over verified TLS. The proxy may not listen yet.
pub fn command(user: &str, cert_pem: &str) -> Vec<String> {
    ["/bin/sh", "-c", SCRIPT, "trust", user, cert_pem].map(str::to_owned).to_vec()
}

/// The container's neighbours as lines of its `/etc/hosts`, and an empty one at the end.
pub fn hosts(neighbours: &[(&str, IpAddr)]) -> String {
    let lines = neighbours.iter().map(|(name, address)| format!("{address}\t{name}\n"));
    lines.chain(["\n".to_owned()]).collect()
}

/// The script's last line, where all went well.
pub const REACHED: &str = "reached";

/// What the script found out about the agent's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    pub account: Account,
    pub jvm: Jvm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jvm {
    /// There is one, and a trust store for it.
    Trusting,
    Absent,
}

impl Survey {
    /// Reads the script's `jvm` and `account UID GID HOME` lines, of which the latter comes last.
    pub fn read(text: &str) -> Option<Self> {
        let account = text.lines().find_map(|line| line.strip_prefix("account "))?;
        let mut words = account.splitn(3, ' ');
        let owner = Owner { user: words.next()?.parse().ok()?, group: words.next()?.parse().ok()? };
        let home = words.next().filter(|home| home.starts_with('/') && home.len() > 1)?.to_owned();
        let jvm = if text.lines().any(|line| line == "jvm") { Jvm::Trusting } else { Jvm::Absent };
        Some(Self { account: Account { owner, home }, jvm })
    }
}

/// The agent's proxy and trust variables. Those that *replace* a program's store name the combined bundle.
pub fn variables() -> Vec<(&'static str, String)> {
    let proxy = format!("http://{PROXY_ALIAS}:{PROXY_PORT}");
    let mut variables = Vec::new();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        variables.push((name, proxy.clone()));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        variables.push((name, NOT_PROXIED.to_owned()));
    }
    for name in BUNDLE_VARIABLES {
        variables.push((name, BUNDLE.to_owned()));
    }
    variables.push(("NODE_EXTRA_CA_CERTS", CERTIFICATE.to_owned()));
    variables.push(("DENO_CERT", CERTIFICATE.to_owned()));
    variables.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
    variables
}

/// A JVM reads neither of the above. It reports this variable on stderr at every start, so it is set where one is.
pub fn jvm_variable(jvm: Jvm) -> Option<(&'static str, String)> {
    let options = format!(
        "-Dhttp.proxyHost={PROXY_ALIAS} -Dhttp.proxyPort={PROXY_PORT} -Dhttps.proxyHost={PROXY_ALIAS} \
         -Dhttps.proxyPort={PROXY_PORT} -Dhttp.nonProxyHosts=localhost|127.* -Djavax.net.ssl.trustStore={JVM_STORE} \
         -Djavax.net.ssl.trustStorePassword=changeit"
    );
    (jvm == Jvm::Trusting).then_some(("JAVA_TOOL_OPTIONS", options))
}

const BUNDLE_VARIABLES: [&str; 8] = [
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
];

const NOT_PROXIED: &str = "localhost,127.0.0.1,::1,git-gate,supervise";

const CERTIFICATE: &str = "/usr/local/share/claude-bottle/ca.crt";
/// The system's anchors and ours.
const BUNDLE: &str = "/usr/local/share/claude-bottle/ca-bundle.crt";
const JVM_STORE: &str = "/usr/local/share/claude-bottle/cacerts";

/// One program for both: starting a second costs as much as all that it does.
const SCRIPT: &str = concat!(include_str!("ca/trust.sh"), include_str!("ca/first-request.sh"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_speaks_of_the_paths_that_the_variables_name() {
        assert!(SCRIPT.ends_with(&format!("echo {REACHED}\n")));
        for path in [CERTIFICATE, BUNDLE, JVM_STORE] {
            let (folder, file) = path.rsplit_once('/').unwrap();
            assert!(
                SCRIPT.contains(&format!("folder={folder}\n")) && SCRIPT.contains(&format!("$folder/{file}")),
                "{path}"
            );
        }
    }

    #[test]
    fn neighbours_are_lines_of_a_hosts_file_that_has_an_end() {
        let neighbours = [("egress-proxy", [10, 0, 0, 2].into()), ("git-gate", [10, 0, 0, 3].into())];
        assert_eq!(hosts(&neighbours), "10.0.0.2\tegress-proxy\n10.0.0.3\tgit-gate\n\n");
    }

    #[test]
    fn an_account_with_a_space_in_its_home_is_read_whole() {
        let survey = Survey::read("jvm\naccount 1000 1001 /home/a b\n").unwrap();
        assert_eq!(survey.account.owner, Owner { user: 1000, group: 1001 });
        assert_eq!(survey.account.home, "/home/a b");
        assert_eq!(survey.jvm, Jvm::Trusting);
    }

    #[test]
    fn an_account_without_a_home_of_its_own_is_none() {
        assert_eq!(Survey::read("account 1000 1000 /\n"), None);
        assert_eq!(Survey::read("account root 0 /root\n"), None);
        assert_eq!(Survey::read(""), None);
    }
}

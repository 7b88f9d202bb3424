//! How each contender is told its job: grant one host with these path prefixes and its subdomains, refuse the rest, strip
//! the client's credential, inject ours, verify origins, stream content.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use super::{
    CREDENTIAL, FIXED, FIXED_KEY, FLOOR, Kind, ORIGINS, World,
    process::{Listens, Process, free_address},
};
use crate::{HOST, pin::Place};

/// What to start, how it is found listening, whom its clients trust, and the host that is asked for.
pub struct Launch {
    pub command: Command,
    pub listens: Listens,
    pub trust: PathBuf,
    pub host: &'static str,
}

/// Writes what several contenders read.
pub fn prepare(world: &World) -> anyhow::Result<()> {
    fs::write(
        world.path(ROUTES),
        format!(
            "routes:\n  - {{host: {HOST}, ports: any, path_allowlist: [{}], auth: {{scheme: Bearer, token_env: \
             {TOKEN}}}}}\n  - {{host: \"*.{HOST}\", ports: any}}\n",
            PREFIXES.join(", ")
        ),
    )?;
    fs::write(world.path(ADDON), include_str!("mitmproxy.py"))?;
    let made = Command::new(fs::canonicalize(&world.programs.egress_proxy)?)
        .args(["ca", "init", "--ca-dir"])
        .arg(world.path(CA))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(made.success(), "egress-proxy made no authority");
    Ok(())
}

pub fn launch(world: &World, kind: Kind, program: &Path, inspector: Option<SocketAddr>) -> anyhow::Result<Launch> {
    let mut command = world.command(program);
    command.current_dir(world.folder.path()).env(TOKEN, CREDENTIAL);
    let (listens, trust) = match kind {
        Kind::Direct | Kind::Floor => {
            command.arg("floor").arg(world.folder.path()).arg("127.0.0.1:0");
            (Listens::Tells, FLOOR.into())
        }
        Kind::Hudsucker => {
            command.arg(world.folder.path());
            (Listens::Tells, format!("{CA}/ca.pem"))
        }
        Kind::Nginx => (Listens::At(nginx(world, &mut command)?), ORIGINS.into()),
        Kind::Mitmproxy => (Listens::At(mitmproxy(world, &mut command)?), "mitmproxy/mitmproxy-ca-cert.pem".into()),
        Kind::Pipelock => {
            let address = pipelock_alone(world, program, &mut command)?;
            let trust = format!("{PIPELOCK_CA}/ca.pem");
            // It resolves names with the system's means only, which know this one.
            return Ok(Launch { command, listens: Listens::At(address), trust: world.path(&trust), host: "localhost" });
        }
        Kind::ScanOff | Kind::ScanOn | Kind::Request | Kind::Exchange | Kind::OlderScanOff | Kind::Older => {
            egress_proxy(kind, inspector, &mut command);
            (Listens::Tells, format!("{CA}/ca.pem"))
        }
    };
    Ok(Launch { command, listens, trust: world.path(&trust), host: HOST })
}

fn egress_proxy(kind: Kind, inspector: Option<SocketAddr>, command: &mut Command) {
    command.args(["run", "--listen", "127.0.0.1:0", "--allow-upstream-cidr", "127.0.0.0/8", "--drain-seconds", "0"]);
    command.args(["--allow-upstream-cidr", "::1/128", "--routes", ROUTES, "--ca-dir", CA, "--upstream-ca", ORIGINS]);
    command.args(["--scan", if matches!(kind, Kind::ScanOff | Kind::OlderScanOff) { "off" } else { "block" }]);
    if let Some(inspector) = inspector {
        command.arg("--inspect").arg(format!("http://{inspector}")).args(["--inspect-listen", "127.0.0.1:0"]);
        if kind == Kind::Exchange {
            command.args(["--inspect-mode", "exchange"]);
        }
    }
}

/// One worker, as the others have one core; TLS and pooling as the proxy's, and no minting: one certificate.
fn nginx(world: &World, command: &mut Command) -> anyhow::Result<SocketAddr> {
    let address = free_address()?;
    let configuration = include_str!("nginx.conf")
        .replace("LISTEN", &address.to_string())
        .replace("ORIGIN", &world.origin.address.to_string())
        .replace("HOST", HOST)
        .replace("PATHS", &PREFIXES.map(|prefix| prefix.trim_start_matches('/')).join("|"))
        .replace("CREDENTIAL", CREDENTIAL)
        .replace("FIXED-KEY", FIXED_KEY)
        .replace("FIXED", FIXED)
        .replace("ROOTS", ORIGINS);
    fs::write(world.path("nginx.conf"), configuration)?;
    command.arg("-p").arg(world.folder.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
    Ok(address)
}

fn mitmproxy(world: &World, command: &mut Command) -> anyhow::Result<SocketAddr> {
    let address = free_address()?;
    command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &address.port().to_string(), "-s", ADDON]);
    let roots = world.path(ORIGINS);
    for option in [
        "confdir=mitmproxy",
        "flow_detail=0",
        // Content streams, as the others' does. `connection_strategy=lazy`, which dials after the verdict as the others
        // do, hangs with many streams on one h2 connection: it dials at once, as it does without being told.
        "upstream_cert=false",
        "stream_large_bodies=1",
        &format!("ssl_verify_upstream_trusted_ca={}", roots.display()),
    ] {
        command.args(["--set", option]);
    }
    Ok(address)
}

/// pipelock as the launcher configures it, but for the destination, which is an address here.
const INSPECTOR: &str = include_str!("../../../tests/harness/pipelock/real.yaml");

/// pipelock beside the proxy: for requests alone, or for answers too.
pub fn inspector(world: &World, program: &Path, kind: Kind, place: Place) -> anyhow::Result<Process> {
    let address = free_address()?;
    let answers = if kind == Kind::Exchange { ANSWERS } else { "{enabled: false}" };
    let configuration = INSPECTOR.replace("LISTEN", &address.to_string()).replace("ANSWERS", answers);
    let name = format!("inspector-{}.yaml", address.port());
    fs::write(world.path(&name), configuration)?;
    let mut command = pipelock(world, program);
    command.args(["run", "--config", &name]);
    Process::start(&mut command, &Listens::At(address), place).context("pipelock")
}

/// pipelock by itself, ending TLS with its own authority. It knows neither paths nor credentials.
fn pipelock_alone(world: &World, program: &Path, command: &mut Command) -> anyhow::Result<SocketAddr> {
    if !world.path(PIPELOCK_CA).exists() {
        let mut made = pipelock(world, program);
        made.args(["tls", "init", "--out", PIPELOCK_CA]).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(made.status()?.success(), "pipelock made no authority");
    }
    let address = free_address()?;
    let interception = format!(
        "tls_interception: {{enabled: true, ca_cert: {PIPELOCK_CA}/ca.pem, ca_key: {PIPELOCK_CA}/ca-key.pem, \
         max_response_bytes: 1073741824}}\n"
    );
    let configuration = INSPECTOR
        .replace("LISTEN", &address.to_string())
        .replace("ANSWERS", ANSWERS)
        .replace("\"127.0.0.1\"]", "\"localhost\"]")
        + &interception;
    fs::write(world.path("pipelock.yaml"), configuration)?;
    command.env("PIPELOCK_HOME", world.folder.path()).env("SSL_CERT_FILE", world.path(ORIGINS));
    command.args(["run", "--config", "pipelock.yaml"]);
    Ok(address)
}

fn pipelock(world: &World, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(world.folder.path()).env("PIPELOCK_HOME", world.folder.path());
    command
}

const ROUTES: &str = "routes.yaml";
const CA: &str = "ca";
const PIPELOCK_CA: &str = "pipelock-ca";
const ADDON: &str = "mitmproxy.py";
const TOKEN: &str = "BENCH_TOKEN";
const ANSWERS: &str =
    "{enabled: true, action: block, sse_streaming: {enabled: true, action: block, max_event_bytes: 1048576}}";
const PREFIXES: [&str; 5] = ["/small", "/bytes", "/sink", "/events", "/injected"];

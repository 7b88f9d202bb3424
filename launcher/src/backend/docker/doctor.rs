//! What `bottle doctor` finds about the engine and the images. Looks only; a failure is a finding.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::engine::Engine;
use super::engine::facts::EngineFacts;
use super::images::Supply;
use super::{DockerError, images};
use crate::backend::Finding;
use crate::plan::Images;

pub(super) async fn findings(named: &Images) -> Vec<Finding> {
    let engine = match Engine::connect().await {
        Ok(engine) => engine,
        Err(error) => return vec![Finding::bad("engine", &error)],
    };
    let mut findings = match engine.facts().await {
        Ok(facts) => of_engine(&facts, &engine.api_version()),
        Err(error) => vec![Finding::bad("engine", &error)],
    };
    findings.push(supply("egress-proxy", images::find_proxy(&engine, named).await));
    findings.push(supply("pipelock", images::find_pipelock(&engine, named).await));
    findings.push(match images::find_supervise(&engine, named).await {
        Err(error) => Finding::note(
            "supervise",
            format!("{error}: bottles with `supervise: true` do not start"),
            "`make build` puts it beside `bottle`; `CLAUDE_BOTTLE_SUPERVISE_IMAGE` names an image that has it",
        ),
        found => supply("supervise", found),
    });
    findings.push(match &named.agent {
        Some(image) => supply("agent image", images::found(&engine, image).await),
        None => Finding::good("agent image", "ours, built at the first start, or named by a bottle"),
    });
    findings
}

fn of_engine(facts: &EngineFacts, api: &str) -> Vec<Finding> {
    let EngineFacts { make, version, runtimes, storage, networks, clock, folder, limits } = facts;
    let gvisor = match runtimes.iter().any(|runtime| runtime == "runsc") {
        true => Finding::good("gvisor", "the engine offers `runsc`"),
        false => Finding::note(
            "gvisor",
            "the engine does not offer `runsc`: agents share this machine's kernel",
            "install gVisor and register `runsc` as a runtime of the engine",
        ),
    };
    let storage = match storage.as_str() {
        "vfs" => Finding::note(
            "storage",
            "the storage driver `vfs` copies every layer: starts are slow and take much space",
            "set up `overlay2`, or `fuse-overlayfs` where the kernel does not allow it",
        ),
        driver => Finding::good("storage", format!("driver `{driver}`")),
    };
    let addresses = match *networks + NETWORKS_OF_A_BOTTLE > DEFAULT_POOL {
        true => Finding::note(
            "networks",
            format!("the engine has {networks} networks, and its default pool has addresses for about {DEFAULT_POOL}"),
            "`docker network prune` removes unused ones; `default-address-pools` of the engine makes room for more",
        ),
        false => Finding::good("networks", format!("{networks} in use")),
    };
    let limits = match limits {
        true => Finding::good("limits", "containers are held to their memory and their number of processes"),
        false => Finding::note(
            "limits",
            "the engine does not hold containers to their memory and their number of processes",
            "boot the machine with control groups of version 2 (`systemd.unified_cgroup_hierarchy=1`), or use an engine that root runs",
        ),
    };
    vec![
        Finding::good("engine", format!("{make} {version}, API {api}")),
        limits,
        gvisor,
        storage,
        addresses,
        clock_finding(clock),
        disk(folder),
    ]
}

/// Certificates are minted by this machine's clock and judged by the containers', which is the engine's.
fn clock_finding(engine: &str) -> Finding {
    let Ok(theirs) = OffsetDateTime::parse(engine, &Rfc3339) else {
        return Finding::note("clock", "the engine does not tell its time", "update Docker");
    };
    let apart = (OffsetDateTime::now_utc() - theirs).whole_seconds().abs();
    match apart > MOST_SECONDS_APART {
        true => Finding::note(
            "clock",
            format!("this machine and the engine's are {apart} s apart: certificates may not be valid yet"),
            "synchronise both clocks, for example with `chrony`",
        ),
        false => Finding::good("clock", "agrees with the engine's"),
    }
}

fn disk(folder: &str) -> Finding {
    let Ok(space) = rustix::fs::statvfs(folder) else {
        return Finding::good("disk", format!("the engine keeps its files elsewhere (`{folder}`)"));
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let shown = format!("{:.1} GiB free in `{folder}`", free as f64 / (1u64 << 30) as f64);
    match free < LEAST_BYTES_FREE {
        true => Finding::note("disk", shown, "`docker system prune` removes what no container uses"),
        false => Finding::good("disk", shown),
    }
}

fn supply(subject: &'static str, found: Result<Supply, DockerError>) -> Finding {
    match found {
        Ok(Supply::Binary(path)) => Finding::good(subject, format!("built from `{}`", path.display())),
        Ok(Supply::Here(image)) => Finding::good(subject, format!("`{image}` is here")),
        Ok(Supply::Pulled(image)) => Finding::note(
            subject,
            format!("`{image}` is not here; the first start pulls it"),
            match subject {
                "pipelock" => "where no registry can be reached: `CLAUDE_BOTTLE_PIPELOCK_BIN`, or `--dlp builtin`",
                _ => "where no registry can be reached: `docker load`",
            },
        ),
        Err(error) => Finding::bad(subject, &error),
    }
}

const NETWORKS_OF_A_BOTTLE: usize = 3;

/// What an engine can number when nobody configured it.
const DEFAULT_POOL: usize = 31;

const MOST_SECONDS_APART: i64 = 60;

const LEAST_BYTES_FREE: u64 = 5 << 30;

//! `egress-proxy run`: settings → parts → listeners → serve until a signal → drain.

use std::{io::BufRead, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use serde_json::json;
use shared::{
    contract::StdinDocument,
    issuer::CertificateAuthority,
    routes::{InspectMode, ScanMode},
};
use time::OffsetDateTime;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{interval, timeout},
};

use crate::{
    accept, admin,
    budget::Budget,
    credentials::SecretStore,
    dial::{AddressPolicy, Dialer},
    events::Events,
    files,
    forward::{Exceptions, Inside, NextHops, REAP, Upstream},
    inspect::{self, Inspection, InspectorAddress},
    live::Live,
    policy::{Defaults, Policy, ScanRules},
    proxy::Proxy,
    record::Journal,
    reload::{Source, TwoTables},
    settings::{
        InspectModeArg, RunArgs, ScanModeArg, SettingsError,
        upstream::{Hop, UpstreamArgs},
    },
    tls::{self, anchors::Anchors, leaves::Leaves},
};

/// Runs the proxy.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    forbid_core_dumps();
    let events = args.log.events();
    let outputs = args.log.outputs().context("the log cannot be written (`--log-file`, `--har`)")?;
    let (journal, writer) = Journal::start(outputs, args.log.colour(), events).context("failed to start the log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start")?;
    let result = runtime.block_on(serve(args, journal.clone(), events));
    // Whatever did not finish in time is dropped here, and writes its record.
    runtime.shutdown_timeout(Duration::from_millis(500));
    journal.close();
    let _written = writer.join();
    result
}

async fn serve(args: &RunArgs, journal: Journal, events: Events) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let mut documents = args.stdin.then(read_stdin);
    let mut store = SecretStore::default();
    let mut given = match &mut documents {
        Some(documents) => first_document(documents).await?,
        None => StdinDocument { routes: None, ca: None, tokens: None, scan_rules: None },
    };
    store.replace(given.tokens.take().unwrap_or_default());
    let authority = authority(args, &given)?;
    let rules = match (given.scan_rules.take(), &args.scan_rules) {
        (Some(text), _) => ScanRules::Given(text),
        (None, Some(path)) => ScanRules::File(path.clone()),
        (None, None) => ScanRules::Shipped,
    };
    let mut source = Source::new(args.routes.clone(), rules, args.upstream.upstream_credential_file.clone(), store);
    let routes = match (&given.routes, &args.routes) {
        (Some(_), Some(path)) => return Err(TwoTables(path.clone()).into()),
        (Some(routes), None) => files::parse_routes(&routes.to_string(), "stdin")?,
        (None, Some(path)) => files::read_routes(path)?,
        (None, None) => anyhow::bail!("the first document on stdin has no `routes`, and there is no `--routes`"),
    };
    drop(given);

    let listener = bind(args.listen.resolve()?, "--listen").await?;
    let inner = match &args.inspect_listen {
        Some(address) => Some(bind(address.resolve()?, "--inspect-listen").await?),
        None => None,
    };
    let admin = match args.admin {
        Some(address) => Some(bind(address, "--admin").await?),
        None => None,
    };

    source.watch(&routes);
    let policy = Policy::new(routes, source.store(), source.rules(), defaults(args))?;
    let provider = tls::provider();
    let mut addresses = AddressPolicy { allowed: args.allow_upstream_cidr.clone(), ..AddressPolicy::default() };
    addresses
        .closed
        .extend([Some(&args.listen), args.inspect_listen.as_ref()].into_iter().flatten().filter_map(|a| a.network()));
    for listener in [Some(&listener), inner.as_ref(), admin.as_ref()].into_iter().flatten() {
        addresses.own.push(listener.local_addr()?);
    }
    let dialer = Dialer::new(addresses, args.limits.connect_timeout);
    let fingerprint = authority.fingerprint();
    let proxy = Arc::new(Proxy {
        policy,
        live: Live::new(args.limits.response_timeout),
        leaves: Leaves::new(authority, &provider)?,
        next_hops: NextHops::new(dialer, upstream(args, &source)?, Anchors::new(provider, &args.upstream.upstream_ca)?),
        inspection: inspection(args, inner.as_ref())?,
        journal,
        limits: args.limits.limits(),
        scanning: Budget::new(SCAN_MEMORY.max(2 * args.limits.scan_buffer)),
        tasks: Default::default(),
        readiness: Default::default(),
    });

    let address =
        |listener: &Option<TcpListener>| listener.as_ref().and_then(|l| l.local_addr().ok()).map(|a| a.to_string());
    let started = [
        ("listen", json!(listener.local_addr()?.to_string())),
        ("inspect_listen", json!(address(&inner))),
        ("admin", json!(address(&admin))),
        ("ca_sha256", json!(fingerprint.to_string())),
        ("routes", json!(proxy.policy.table().routes.iter().len())),
    ];
    let (stop, shutdown) = watch::channel(false);
    let accepting = tokio::spawn(accept::serve(proxy.clone(), listener, shutdown.clone()));
    if let Some(admin) = admin {
        tokio::spawn(admin::serve(proxy.clone(), admin, shutdown.clone()));
    }
    if let (Some(inner), Some(inspection)) = (inner, &proxy.inspection) {
        tokio::spawn(inspect::inner::serve(proxy.clone(), inspection.waiting().clone(), inner, shutdown.clone()));
        tokio::spawn(prove(proxy.clone(), events));
    }
    events.tell("proxy.started", &started);

    watch_for_changes(&proxy, &mut source, documents, signals, events).await?;

    events.tell("proxy.draining", &[("seconds", json!(args.limits.drain_seconds))]);
    stop.send_replace(true);
    accepting.await?;
    proxy.tasks.close();
    let drained = timeout(args.limits.drain(), proxy.tasks.wait()).await.is_ok();
    events.tell("proxy.stopped", &[("drained", json!(drained))]);
    Ok(())
}

/// What the process is told from outside; listened for before anything is served, so that none ends it unheard.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Reloads on request and on change until the process is told to stop.
async fn watch_for_changes(
    proxy: &Proxy,
    source: &mut Source,
    mut documents: Option<mpsc::Receiver<String>>,
    mut signals: Signals,
    events: Events,
) -> anyhow::Result<()> {
    let mut tick = interval(Duration::from_millis(500));
    let mut reap = interval(REAP);
    loop {
        let reloaded = tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hang_up.recv() => source.reload(proxy),
            line = next_line(&mut documents) => source.take_document(proxy, &line),
            _ = tick.tick() => match source.changed() {
                true => source.reload(proxy),
                false => continue,
            },
            _ = reap.tick() => {
                proxy.next_hops.reap();
                proxy.inspection.iter().for_each(Inspection::reap);
                continue;
            }
        };
        match reloaded {
            Ok(()) => events.tell("routes.reloaded", &[("routes", json!(proxy.policy.table().routes.iter().len()))]),
            Err(error) => events.tell("routes.rejected", &[("reason", json!(format!("{error:#}")))]),
        }
    }
}

/// Runs the inspector's canaries until they pass.
async fn prove(proxy: Arc<Proxy>, events: Events) {
    let Some(inspection) = &proxy.inspection else { return };
    let mut pause = Duration::from_millis(20);
    let mut told = String::new();
    loop {
        let proved = async {
            inspection.prove().await?;
            if proxy.policy.inspects_answers() { inspection.prove_answers().await } else { Ok(()) }
        };
        match proved.await {
            Ok(()) => {
                proxy.readiness.set_proved();
                return events.tell("inspector.proved", &[]);
            }
            Err(error) => {
                let reason = crate::respond::chain(&error);
                if reason != told {
                    events.tell("inspector.awaited", &[("reason", json!(reason))]);
                    told = reason;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// No core file and no debugger of another user's shows what this process holds. Best effort: a kernel that refuses
/// leaves the container's own limits.
fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _limited = rustix::process::setrlimit(Resource::Core, none);
    let _undumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

fn defaults(args: &RunArgs) -> Defaults {
    let inspect = match (&args.inspect, args.inspect_mode) {
        (None, _) => InspectMode::Off,
        (Some(_), InspectModeArg::Request) => InspectMode::Request,
        (Some(_), InspectModeArg::Exchange) => InspectMode::Exchange,
    };
    let scan = match args.scan {
        ScanModeArg::Block => ScanMode::Block,
        ScanModeArg::Record => ScanMode::Record,
        ScanModeArg::Off => ScanMode::Off,
    };
    Defaults { inspect, scan, answers: args.answers.scan_answers }
}

fn authority(args: &RunArgs, given: &StdinDocument) -> anyhow::Result<CertificateAuthority> {
    if let Some(pair) = &given.ca {
        return CertificateAuthority::load(&pair.cert, &pair.key, OffsetDateTime::now_utc())
            .context("the authority on stdin cannot be used");
    }
    match (&args.ca_cert, &args.ca_key, &args.ca_dir) {
        (Some(cert), Some(key), _) => Ok(files::read_ca(cert, key)?),
        (_, _, Some(folder)) => Ok(files::open_ca(folder)?),
        _ => {
            anyhow::bail!("no certificate authority; give `--ca-dir DIR`, `--ca-cert` and `--ca-key`, or `ca` on stdin")
        }
    }
}

fn upstream(args: &RunArgs, source: &Source) -> anyhow::Result<Option<Upstream>> {
    let UpstreamArgs { upstream, upstream_credential_file, upstream_except, upstream_ca, .. } = &args.upstream;
    let Hop::Proxy(address) = upstream else {
        anyhow::ensure!(
            upstream_credential_file.is_none(),
            SettingsError::UpstreamMissing("--upstream-credential-file")
        );
        anyhow::ensure!(upstream_except.is_empty(), SettingsError::UpstreamMissing("--upstream-except"));
        return Ok(None);
    };
    let inside = if upstream_ca.is_empty() { Inside::AsTheClient } else { Inside::Http2 };
    let exceptions = Exceptions::new(upstream_except.clone());
    let upstream = Upstream::new(address.clone(), exceptions, inside, args.limits.connect_timeout);
    upstream.renew(source.upstream_credential().context("the upstream proxy's credential cannot be used")?);
    Ok(Some(upstream))
}

fn inspection(args: &RunArgs, inner: Option<&TcpListener>) -> anyhow::Result<Option<Inspection>> {
    let (Some(url), Some(inner)) = (&args.inspect, inner) else { return Ok(None) };
    let return_to = match &args.inspect_return {
        Some(named) => named.clone(),
        None => {
            let address = inner.local_addr()?;
            anyhow::ensure!(!address.ip().is_unspecified(), SettingsError::ReturnUnknown);
            address.to_string()
        }
    };
    let (host, port, agent) = (url.host.clone(), url.port, args.inspect_agent.clone());
    Ok(Some(Inspection::new(InspectorAddress { host, port, return_to, agent })))
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address} (`{flag}`)"))
}

/// Lines of stdin, read by a thread of its own: a pipe has no other way to be waited for.
fn read_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if !line.trim().is_empty() && sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn first_document(documents: &mut mpsc::Receiver<String>) -> anyhow::Result<StdinDocument> {
    let line = documents.recv().await.context("stdin ended before its first document")?;
    crate::reload::parse_document(&line)
}

/// The next line; never, once input has ended.
async fn next_line(documents: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(receiver) = documents {
        if let Some(line) = receiver.recv().await {
            return line;
        }
        *documents = None;
    }
    std::future::pending().await
}

/// Memory for content that is scanned whole before it leaves, of all exchanges together.
const SCAN_MEMORY: usize = 64 << 20;

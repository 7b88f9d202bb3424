//! What changes while clients are busy: the table, a credential, the origin, the proxy's own end.

use harness::client::get;
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, routes};
use harness::wire::Wire;
use harness::within;
use http_body_util::BodyExt;
use rustix::process::Signal;

use super::load::Load;
use super::{CREDENTIAL, MIB, Stage, route, setup};

const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_loses_no_request() {
    let mut stage = Stage::with("", |setup| setup).await;
    let load = Load::begin(&stage.proxy.client(), &stage.origin.authority(), "/echo", CLIENTS);
    load.goes_on_for(50).await;
    for round in 0..20 {
        let rest = if round % 2 == 0 { "path_allowlist: [/echo]" } else { "" };
        stage.proxy.write_routes(&routes([&route(rest)]));
        stage.proxy.signal(Signal::HUP);
        stage.proxy.event("routes.reloaded").await;
        load.goes_on_for(20).await;
    }
    load.end().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_takes_effect_without_a_restart_and_without_a_lost_request() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let files = harness::proxy::Setup::bare();
    files.write("token", CREDENTIAL);
    let auth = format!("auth: {{scheme: Bearer, token_file: {}}}", files.path("token"));
    let mut proxy = Proxy::start(setup(&routes([&route(&auth)])).trusting(&pki)).await;
    let load = Load::begin(&proxy.client(), &origin.authority(), "/rotate", CLIENTS);
    let mut known = vec![format!("Bearer {CREDENTIAL}")];
    for round in 0..10 {
        load.goes_on_for(20).await;
        let next = format!("rotated-credential-{round:04}");
        files.write("token.new", &next);
        std::fs::rename(files.path("token.new"), files.path("token")).expect("the folder is writable");
        proxy.event("routes.reloaded").await;
        known.push(format!("Bearer {next}"));
        // From here on nothing goes out with the value before it: a request that begins now carries the new one.
        let seen = origin.seen().arrivals().len();
        proxy.client().get(&origin.url("/probe")).await.says(200, &[]);
        let arrivals = origin.seen().arrivals();
        let probe = arrivals.iter().skip(seen).find(|arrival| arrival.target == "/probe").expect("it arrived");
        assert_eq!(probe.value("authorization"), known.last().map(String::as_str));
    }
    load.end().await.lost_nothing();
    for arrival in origin.seen().arrivals() {
        let sent = arrival.value("authorization").expect("never bare").to_owned();
        assert!(known.contains(&sent), "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_dies_and_returns_under_load_is_a_502_and_then_serves_again() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let mut wire = Wire::to(origin.address()).await;
    let proxy = Proxy::start(setup(&routes([&route("")])).trusting(&pki)).await;
    let authority = format!("api.localhost:{}", wire.address().port());
    let load = Load::begin(&proxy.client(), &authority, "/bytes?n=20000", CLIENTS);
    for _ in 0..3 {
        load.goes_on_for(50).await;
        wire.cut().await;
        load.goes_on_for(50).await;
        wire.mend();
        load.goes_on_for(100).await;
    }
    let tally = load.end().await;
    println!("{:?}, {} cut answers", tally.answers, tally.failures.len());
    assert!(tally.answers.keys().all(|status| [200, 502, 504].contains(status)), "{:?}", tally.answers);
    assert!(tally.answers[&200] > 300 && tally.answers[&502] > 0, "{:?}", tally.answers);
    proxy.client().get(&format!("https://{authority}/echo")).await.says(200, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_completes_what_is_under_way() {
    let stage = Stage::with("", |setup| setup.arg("--drain-seconds").arg("60")).await;
    let client = stage.proxy.client();
    let mut answers = Vec::new();
    for number in 0..100 {
        let client = if number % 2 == 0 { client.clone() } else { client.h2() };
        let url = stage.origin.url(&format!("/bytes?n={}", 4 * MIB));
        answers.push(client.open(get(&url)).await.expect("a head"));
    }
    let mut proxy = stage.proxy;
    proxy.signal(Signal::TERM);
    proxy.event("proxy.draining").await;
    client.try_send(get(&stage.origin.url("/echo"))).await.expect_err("nothing new is taken");
    let whole = futures_util::future::join_all(answers.into_iter().map(|answer| answer.into_body().collect()));
    for content in within("whole answers", whole).await {
        assert_eq!(content.expect("not cut").to_bytes().len() as u64, 4 * MIB);
    }
    let ended = proxy.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let completed = ended.stdout.lines().filter(|line| line.contains("\"kind\":\"exchange\""));
    let completed = completed.filter(|line| line.contains("\"outcome\":\"completed\"")).count();
    assert_eq!(completed, 100, "{}", ended.stdout);
}

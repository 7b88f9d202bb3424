//! Records that nobody reads, with the pipe still open: no exchange goes unrecorded, and none begins that would.

use harness::client::{Client, get};
use harness::within;

use super::load::Load;
use super::{CREDENTIAL, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_records_that_stalls_lets_no_exchange_begin_until_it_reads_on() {
    let with_admin = |setup: harness::proxy::Setup| setup.arg("--admin").arg("127.0.0.1:0").env("TOKEN", CREDENTIAL);
    let mut stage = Stage::with("auth: {scheme: Bearer, token_env: TOKEN}", with_admin).await;
    let mut session = stage.proxy.client().session(&stage.origin.authority()).await.expect("a tunnel");
    session.send(get(&stage.origin.url("/echo"))).await.expect("an answer").says(200, &[]);
    let held = stage.proxy.hold_records().await;
    let before = stage.proxy.resident();
    let load = Load::begin(&stage.proxy.client(), &stage.origin.authority(), "/echo", 16);
    // Thousands of records later there is no room for one more, and after half a minute no hope of it.
    let failed = stage.proxy.event("log.failed").await;
    assert_eq!(failed["reason"], "nobody reads it");
    let tally = load.end().await;
    println!("{:?} with nobody reading, {} KiB grown", tally.answers, (stage.proxy.resident() - before) / 1024);
    assert!(tally.failures.is_empty(), "{:?}", tally.failures.first());
    assert!(tally.answers.keys().all(|status| [200, 503].contains(status)), "{:?}", tally.answers);
    assert!(tally.answers[&200] > 10_000, "{:?}", tally.answers);

    let seen = stage.origin.seen().arrivals().len();
    session.send(get(&stage.origin.url("/echo"))).await.expect("an answer").says(503, &["log"]);
    assert_eq!(stage.origin.seen().arrivals().len(), seen);
    let mut raw = Client::new(stage.proxy.admin(), "").raw().await;
    raw.send("GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
    assert_eq!(raw.answer().await.head.status(), 503);

    drop(held);
    stage.proxy.event("log.resumed").await;
    session.send(get(&stage.origin.url("/echo"))).await.expect("an answer").says(200, &[]);
    drop(session);
    let ended = within("the end", stage.proxy.stop()).await;
    let told = ended.stdout.lines().filter(|line| line.contains("\"kind\":\"exchange\"")).count();
    assert_eq!(told, tally.answers[&200] + 2, "one record for each exchange, none lost");
}

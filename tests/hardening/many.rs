//! Many clients at once, patient and hostile ones.

use harness::client::get;
use harness::within;
use tokio::task::JoinSet;

use super::{MIB, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_at_once_are_all_served() {
    let stage = Stage::with("", |setup| setup).await;
    let before = stage.proxy.resident();
    let mut clients = JoinSet::new();
    let held = std::sync::Arc::new(tokio::sync::Barrier::new(1000));
    for number in 0..1000 {
        let client = if number % 2 == 0 { stage.proxy.client() } else { stage.proxy.client().h2() };
        let (authority, url, held) = (stage.origin.authority(), stage.origin.url("/echo"), held.clone());
        clients.spawn(async move {
            let mut session = client.session(&authority).await?;
            // Nobody goes before everybody is connected.
            held.wait().await;
            session.send(get(&url)).await
        });
    }
    let mut served = 0;
    while let Some(client) = within("a client", clients.join_next()).await {
        client.expect("no panic").expect("an answer").says(200, &[]);
        served += 1;
    }
    let grown = stage.proxy.resident().saturating_sub(before);
    println!("{served} clients at once, {} KiB resident each", grown / 1024 / served);
    assert_eq!(served, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_clients_that_never_finish_a_head_hold_nobody_up_and_are_sent_away() {
    let stage = Stage::with("", |setup| setup.arg("--head-timeout").arg("5")).await;
    let before = stage.proxy.resident();
    let mut slow = Vec::new();
    for number in 0..500 {
        let mut connection = match number % 2 {
            0 => stage.proxy.client().raw().await,
            _ => stage.proxy.client().raw_inside(&stage.origin.authority()).await,
        };
        connection.send("GET http://api.localhost/ HTTP/1.1\r\nHost: api.loc").await;
        slow.push(connection);
    }
    for connection in &mut slow {
        connection.send("a").await;
    }
    // Everybody else is served while they hold their breath.
    for _ in 0..20 {
        stage.proxy.client().get(&stage.origin.url("/echo")).await.says(200, &[]);
    }
    let grown = stage.proxy.resident().saturating_sub(before);
    println!("500 unfinished heads: {} KiB resident each", grown / 1024 / 500);
    assert!(grown < 64 * MIB, "{grown}");
    for connection in slow {
        let rest = connection.rest().await;
        let text = harness::h1::from_latin1(&rest);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
}

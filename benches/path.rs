//! Steps of the request path, one by one: `cargo bench -p benches --bench path`. What a step costs here it costs every
//! request; what all of them cost together, with the network, `make bench` tells.
#![allow(clippy::unwrap_used, reason = "a benchmark's own material is right, or there is nothing to measure")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use egress_proxy::{
    content::Collected,
    credentials::{Credential, SecretStore},
    events::Events,
    files, hop_by_hop,
    live::Live,
    mask::Mask,
    policy::{Defaults, Judged, Policy, ScanRules},
    record::{Destination, Journal, Recording, pretty::Colour},
    relay::{AnswerBody, Relay},
    scan::{Exemptions, Scanner},
    settings::AnswerMode,
    tls::{
        self,
        leaves::{Leaves, Listing},
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, uri::PathAndQuery};
use http_body::Body;
use shared::{
    authority::Authority,
    issuer::CertificateAuthority,
    routes::{InspectMode, ScanMode, Scheme},
};
use time::{Duration, OffsetDateTime};

criterion_group!(path, judge, guard, scan_head, rewrite_head, mint, mask, relay);
criterion_main!(path);

/// The table's verdict over one request, among fifty routes.
fn judge(criterion: &mut Criterion) {
    let (policy, (request, fields)) = (policy(), request());
    criterion.bench_function("judge", |bencher| {
        bencher.iter(|| policy.request(black_box(&request), &fields).unwrap());
    });
}

/// The search of a head for credentials and stand-ins.
fn guard(criterion: &mut Criterion) {
    let (policy, (request, fields)) = (policy(), request());
    criterion.bench_function("guard a head", |bencher| {
        bencher.iter(|| policy.check_credentials(black_box(&request), &fields).unwrap());
    });
}

/// The scan of a head for secrets.
fn scan_head(criterion: &mut Criterion) {
    let (scanner, (request, fields), none) = (Scanner::builtin(), request(), Exemptions::default());
    let host = request.authority.host.bare();
    criterion.bench_function("scan a head", |bencher| {
        bencher.iter(|| {
            scanner.head(&request.method, &host, request.target.as_str(), black_box(&fields), &none).unwrap();
        });
    });
}

/// What is done to a head before it goes on: strip, strip hop by hop, inject.
fn rewrite_head(criterion: &mut Criterion) {
    let (policy, (request, fields)) = (policy(), request());
    let permit = policy.request(&request, &fields).unwrap();
    let credential = permit.credential().unwrap().unwrap();
    criterion.bench_function("rewrite a head", |bencher| {
        bencher.iter_batched(
            || {
                let (mut head, ()) = http::Request::new(()).into_parts();
                head.headers = fields.clone();
                head
            },
            |mut head| {
                permit.table().strip.strip(&mut head.headers, &permit.route().keep);
                hop_by_hop::strip(&mut head.headers);
                credential.inject(&mut head).unwrap();
                head
            },
            BatchSize::SmallInput,
        );
    });
}

/// A leaf for a new name.
fn mint(criterion: &mut Criterion) {
    let authority = CertificateAuthority::create(OffsetDateTime::now_utc(), Duration::days(1)).unwrap();
    let leaves = Leaves::new(authority, &tls::provider()).unwrap();
    let mut names = (0_u64..).map(|number| format!("n{number}.bench.example:443").parse::<Authority>().unwrap().host);
    criterion.bench_function("mint a leaf", |bencher| {
        bencher.iter_batched(
            || names.next().unwrap(),
            |host| leaves.config(&host, Listing::Listed).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

/// The search of an answer for the injected value, in chunks as they are read.
fn mask(criterion: &mut Criterion) {
    let routes = files::parse_routes(&table(), "bench").unwrap();
    let auth = routes.iter().find_map(|route| route.auth.as_ref()).unwrap();
    let credential = Credential::resolve(auth, &store()).unwrap();
    let text: Bytes = include_bytes!("path.rs").iter().copied().cycle().take(64 << 10).collect();
    let mut group = criterion.benchmark_group("mask");
    for (name, length) in [("a small answer", 64), ("64 KiB", text.len())] {
        let chunk = text.slice(..length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut mask = Mask::new(&credential);
                let pushed = mask.push(black_box(chunk.clone())).unwrap();
                (pushed, mask.finish())
            });
        });
    }
    group.finish();
}

/// An answer's way to the client, from memory: begun, counted, masked, its record ended (and written nowhere).
fn relay(criterion: &mut Criterion) {
    let (journal, _writer) = Journal::start(Vec::new(), Colour::None, Events::Json).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (policy, (request, fields), live) = (policy(), request(), Live::new(std::time::Duration::from_secs(60)));
    let credential = policy.request(&request, &fields).unwrap().credential().unwrap().unwrap().clone();
    let text: Bytes = include_bytes!("path.rs").iter().copied().cycle().take(64 << 10).collect();
    let mut group = criterion.benchmark_group("relay");
    for (name, length) in [("a small answer", 64), ("64 KiB", text.len())] {
        // As large as what a TLS record holds.
        let chunks: Vec<Bytes> = text[..length].chunks(16 << 10).map(|chunk| text.slice_ref(chunk)).collect();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let room = runtime.block_on(journal.room()).unwrap();
                let recording = Recording::begin(room, Method::GET, Version::HTTP_11, Destination::UNKNOWN);
                let mut content = Collected::default();
                chunks.iter().for_each(|chunk| content.push(black_box(chunk.clone())));
                let (mask, revocation) = (Mask::new(&credential), live.enter(request.clone()));
                let body = AnswerBody::Collected(content);
                let mut body = Relay::begin(body, recording, Some(mask), None, revocation);
                let mut context = Context::from_waker(Waker::noop());
                let mut length = 0;
                while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
                    length += frame.unwrap().into_data().map_or(0, |data| data.len());
                }
                length
            });
        });
    }
    group.finish();
    journal.close();
}

/// A request as an API client sends it.
fn request() -> (Arc<Judged>, HeaderMap) {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("host", "api.bench.example"),
        ("user-agent", "bench/1.0 (linux; x64)"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/json"),
        ("connection", "keep-alive"),
        ("authorization", "Bearer of-the-client-itself"),
        ("x-api-version", "2026-01-01"),
    ] {
        fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let authority = Arc::new("api.bench.example:443".parse().unwrap());
    let target = PathAndQuery::from_static("/v1/projects/42/messages?limit=20&after=msg_01");
    (Arc::new(Judged::new(Scheme::Https, authority, Method::GET, target, &fields)), fields)
}

fn policy() -> Policy {
    let routes = files::parse_routes(&table(), "bench").unwrap();
    let defaults = Defaults { inspect: InspectMode::Off, scan: ScanMode::Block, answers: AnswerMode::Off };
    Policy::new(routes, &store(), &ScanRules::default(), defaults).unwrap()
}

fn store() -> SecretStore {
    let mut store = SecretStore::default();
    store.replace(BTreeMap::from([("TOKEN".to_owned(), "a-credential-of-the-benchmark-0001".to_owned())]));
    store
}

fn table() -> String {
    let others: String = (0..49).map(|number| format!("  - host: h{number}.bench.example\n")).collect();
    format!(
        "routes:\n  - {{host: api.bench.example, path_allowlist: [/v1/, /v2/], auth: {{scheme: Bearer, token_env: \
         TOKEN}}}}\n{others}"
    )
}

//! What a hijacked client does with h2 to the proxy: the proxy stays up, its memory bounded, and others are served.

use bytes::Bytes;
use harness::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::Stage;
use harness::client::get;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What abuse may add to the proxy's resident memory.
const GROWTH: u64 = 32 * 1024 * 1024;

/// A frame as it came: kind, stream, payload.
type Frame = (u8, u32, Vec<u8>);

struct Abuser {
    read: ReadHalf<TlsStream<TcpStream>>,
    write: WriteHalf<TlsStream<TcpStream>>,
    authority: String,
}

impl Abuser {
    /// A connection with its preface and these settings sent.
    async fn of(stage: &Stage, settings: &[(u16, u32)]) -> Self {
        let authority = stage.origin.authority();
        let stream = stage.client().h2().tls(&authority, Some("api.localhost")).await.expect("TLS in a tunnel");
        let (read, write) = split(stream);
        let mut abuser = Self { read, write, authority };
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &payload)].concat();
        abuser.send(&preface).await;
        abuser
    }

    /// Sends; tells whether the peer still listens.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        within("the proxy to read", self.write.write_all(bytes)).await.is_ok() && self.write.flush().await.is_ok()
    }

    fn request(&self, path: &str) -> Vec<u8> {
        [&b"\x82\x87"[..], &literal(b":path", path.as_bytes()), &literal(b":authority", self.authority.as_bytes())]
            .concat()
    }

    /// The next frame, or none at the end.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within("a frame", self.read.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.read.read_exact(&mut payload).await.ok()?;
        Some((kind, u32::from_be_bytes(stream), payload))
    }

    /// Reads until a frame of this kind.
    async fn frame_of(&mut self, wanted: u8) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.0 == wanted {
                return Some(frame);
            }
        }
    }

    /// The error with which the proxy ends the connection.
    async fn goaway(&mut self) -> u32 {
        let (_, _, payload) = self.frame_of(GOAWAY).await.expect("a GOAWAY before the end");
        number(&payload[4..])
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is neither indexed nor compressed (RFC 7541 §6.2.2), or one that is put into the table (§6.2.1).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    field(0, name, value)
}

fn field(form: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![form];
    for text in [name, value] {
        let mut rest = text.len();
        if rest < 127 {
            bytes.push(rest as u8);
        } else {
            bytes.push(127);
            rest -= 127;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
        bytes.extend_from_slice(text);
    }
    bytes
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

/// The proxy's memory before and after, with another client served in between.
struct Watch(u64);

impl Watch {
    async fn begin(stage: &Stage) -> Self {
        stage.client().h2().get(&stage.url("/bytes?n=100000")).await.says(200, &[]);
        Self(stage.proxy.resident())
    }

    async fn end(self, stage: &Stage) {
        for client in [stage.client(), stage.client().h2()] {
            client.get(&stage.url("/bytes?n=100000")).await.says(200, &[]);
        }
        let grown = stage.proxy.resident().saturating_sub(self.0);
        assert!(grown < GROWTH, "grew by {} KiB", grown / 1024);
    }
}

#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection() {
    // CVE-2023-44487.
    let stage = Stage::granting("").await;
    let watch = Watch::begin(&stage).await;
    let mut abuser = Abuser::of(&stage, &[]).await;
    let head = abuser.request("/echo");
    for number in 0..200 {
        let burst: Vec<u8> = (0..100)
            .flat_map(|n| {
                let stream = (number * 100 + n) * 2 + 1;
                let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
                both.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
                both
            })
            .collect();
        if !abuser.send(&burst).await {
            break;
        }
    }
    assert_eq!(abuser.goaway().await, ENHANCE_YOUR_CALM);
    watch.end(&stage).await;
    let arrived = stage.origin.seen().arrivals().len();
    assert!(arrived < 1000, "{arrived} requests reached the origin");
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let stage = Stage::granting("").await;
    let watch = Watch::begin(&stage).await;
    for size in [0, 1, 16_000] {
        let mut abuser = Abuser::of(&stage, &[]).await;
        let mut flood = frame(HEADERS, END_STREAM, 1, &abuser.request("/echo"));
        let more = frame(CONTINUATION, 0, 1, &literal(b"x-more", &vec![b'x'; size])[..size.max(1)]);
        for _ in 0..2000 {
            flood.extend_from_slice(if size == 0 { b"\0\0\0\x09\0\0\0\0\x01" } else { &more });
        }
        abuser.send(&flood).await;
        let error = abuser.goaway().await;
        assert_ne!(error, 0, "CONTINUATION of {size} bytes");
    }
    watch.end(&stage).await;
    assert!(stage.origin.seen().arrivals().iter().all(|arrival| arrival.target.starts_with("/bytes")));
}

#[tokio::test]
async fn settings_and_pings_without_end_take_no_memory() {
    let stage = Stage::granting("").await;
    let watch = Watch::begin(&stage).await;
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]), frame(DATA, 0, 0, &[])] {
        let mut abuser = Abuser::of(&stage, &[]).await;
        let flood = flood.repeat(1000);
        // It reads none of the answers: at some point the proxy takes no more, or has had enough.
        let flooding = tokio::spawn(async move { while abuser.write.write_all(&flood).await.is_ok() {} });
        for _ in 0..10 {
            stage.client().get(&stage.url("/bytes?n=1000")).await.says(200, &[]);
        }
        flooding.abort();
    }
    watch.end(&stage).await;
}

#[tokio::test]
async fn a_head_that_unfolds_to_megabytes_goes_nowhere() {
    let mut stage = Stage::granting("").await;
    let watch = Watch::begin(&stage).await;
    stage.proxy.exchange().await;
    let mut abuser = Abuser::of(&stage, &[]).await;
    // An entry of the table as long as it can be, then named by one byte each time (RFC 7541 §6.1).
    let mut head = abuser.request("/echo");
    head.extend(field(0x40, b"x-bomb", &[b'x'; 3900]));
    head.extend(vec![0xbe; 12_000]);
    abuser.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
    // The library answers 431, or is done with such a client.
    loop {
        match abuser.frame().await {
            Some((GOAWAY, _, payload)) => break assert_ne!(number(&payload[4..]), 0),
            Some((HEADERS, _, answer)) => {
                break assert!(answer.windows(3).any(|window| window == b"431"), "{answer:?}");
            }
            Some(_) => {}
            None => break,
        }
    }
    watch.end(&stage).await;
    assert!(stage.origin.seen().arrivals().iter().all(|arrival| arrival.target.starts_with("/bytes")));
}

#[tokio::test]
async fn answers_that_nobody_takes_wait_at_the_origin() {
    let stage = Stage::granting("").await;
    let watch = Watch::begin(&stage).await;
    for window in [0, 1] {
        // SETTINGS_INITIAL_WINDOW_SIZE: so much of each answer is taken, and no more ever.
        let mut abuser = Abuser::of(&stage, &[(4, window)]).await;
        for number in 0..100 {
            let head = abuser.request("/bytes?n=10000000");
            abuser.send(&frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &head)).await;
        }
        for _ in 0..100 {
            abuser.frame_of(HEADERS).await.expect("an answer's head");
        }
        let other = stage.client().h2().get(&stage.url("/bytes?n=100000")).await;
        assert_eq!(other.content.len(), 100_000);
        let grown = stage.proxy.resident().saturating_sub(watch.0);
        assert!(grown < GROWTH, "grew by {} KiB", grown / 1024);
    }
    watch.end(&stage).await;
}

#[tokio::test]
async fn more_streams_than_are_allowed_are_refused_and_the_others_answered() {
    let stage = Stage::granting("").await;
    let watch = Watch::begin(&stage).await;
    let mut abuser = Abuser::of(&stage, &[]).await;
    let mut opened = Vec::new();
    let head = abuser.request("/upload");
    for number in 0..400 {
        opened.extend(frame(HEADERS, END_HEADERS, number * 2 + 1, &head));
    }
    // None of the uploads ever ends.
    abuser.send(&opened).await;
    let mut refused = 0;
    while refused < 100 {
        let (kind, _, payload) = abuser.frame().await.expect("the connection holds");
        if kind == RST_STREAM {
            assert_eq!(number(&payload), REFUSED_STREAM);
            refused += 1;
        }
    }
    watch.end(&stage).await;
    drop(abuser);
    let content = Bytes::from_static(b"still here");
    stage.client().h2().send(harness::client::post(&stage.url("/upload"), content)).await.says(200, &["10"]);
}

#[tokio::test]
async fn heads_up_to_64_kib_pass_over_h2_and_larger_ones_are_a_431() {
    let stage = Stage::granting("").await;
    let request = |size| harness::client::with(get(&stage.url("/echo")), "x-long", &"x".repeat(size));
    let mut session = stage.client().h2().session(&stage.origin.authority()).await.expect("a tunnel");
    for (size, status) in [(65_000, 200), (66_000, 431), (90_000, 431), (1_000, 200)] {
        let answer = session.send(request(size)).await.expect("the connection holds");
        assert_eq!(answer.status.as_u16(), status, "{size}");
    }
    // Much larger ones are taken for abuse, and end the connection.
    session.send(request(250_000)).await.expect_err("no answer");
    session.send(request(1_000)).await.expect_err("no connection");
    assert_eq!(stage.origin.seen().arrivals().len(), 2);
}

//! Both directions, cut in every way, plain and compressed.

use std::sync::{Arc, LazyLock};

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use shared::routes::ScanMode;

use super::{
    Agreement, Incoming, Outgoing, Progress, WebSocketError,
    frame::{BINARY, CLOSE, CONTINUATION, Sender, TEXT, Written, write_control},
};
use crate::{
    mask::Mask,
    scan::{Exemptions, Scanner},
};

static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));
const PING: u8 = 9;
const COMPRESSED: u8 = 0x40;
const VALUE: &str = "secret-value";

/// One frame; `opcode` may hold more bits of the first byte.
fn frame(sender: Sender, opcode: u8, last: bool, content: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    if last || content.is_empty() {
        Written::new(sender, opcode).end(&mut out, content);
    } else {
        Written::new(sender, opcode).piece(&mut out, content);
    }
    if !last {
        out[0] &= 0x7f;
    }
    out.to_vec()
}

fn client(opcode: u8, last: bool, content: &[u8]) -> Vec<u8> {
    frame(Sender::Client, opcode, last, content)
}

fn origin(opcode: u8, last: bool, content: &[u8]) -> Vec<u8> {
    frame(Sender::Origin, opcode, last, content)
}

/// Compresses messages as RFC 7692 §7.2.1 says, one after the other with one window.
struct Deflater(Compress);

impl Deflater {
    fn new() -> Self {
        Self(Compress::new(Compression::default(), false))
    }

    fn message(&mut self, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(content.len() + 1024);
        self.0.compress_vec(content, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    }
}

/// What an endpoint reads from frames: (opcode, content) of each message and control frame.
fn read(frames: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut rest, mut messages, mut open) = (frames, Vec::new(), None);
    while !rest.is_empty() {
        let (first, second) = (rest.get_u8(), rest.get_u8());
        assert_eq!(first & 0x70, 0, "nothing goes on compressed");
        let length = match second & 0x7f {
            126 => usize::from(rest.get_u16()),
            127 => usize::try_from(rest.get_u64()).unwrap(),
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            rest.copy_to_slice(&mut mask);
        }
        let content: Vec<u8> = rest[..length].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        rest.advance(length);
        let (opcode, last) = (first & 0x0f, first & 0x80 != 0);
        if opcode >= CLOSE {
            messages.push((opcode, content));
            continue;
        }
        let (kind, mut whole) = open.take().unwrap_or((opcode, Vec::new()));
        whole.extend(content);
        if last { messages.push((kind, whole)) } else { open = Some((kind, whole)) }
    }
    assert!(open.is_none(), "every message ends");
    messages
}

type Said = Vec<(u8, Vec<u8>)>;

fn out(mode: ScanMode, agreement: Agreement, bytes: &[u8], cut: usize) -> Result<Said, WebSocketError> {
    let mut outgoing = Outgoing::new(SCANNER.clone(), Exemptions::default(), mode, agreement);
    through(bytes, cut, |bytes, out| outgoing.push(bytes, out))
}

fn back(agreement: Agreement, bytes: &[u8], cut: usize) -> Result<Said, WebSocketError> {
    let mut incoming = Incoming::new(Mask::of(&[VALUE]), agreement);
    through(bytes, cut, |bytes, out| incoming.push(bytes, out))
}

fn through(
    bytes: &[u8],
    cut: usize,
    mut push: impl FnMut(&mut BytesMut, &mut BytesMut) -> Result<Progress, WebSocketError>,
) -> Result<Said, WebSocketError> {
    let (mut waiting, mut sent) = (BytesMut::new(), BytesMut::new());
    for chunk in bytes.chunks(cut) {
        waiting.extend_from_slice(chunk);
        loop {
            let mut out = BytesMut::new();
            let progress = push(&mut waiting, &mut out)?;
            assert!(out.len() <= 2 * super::FULL, "{} bytes at once", out.len());
            sent.unsplit(out);
            if progress == Progress::Hungry {
                break;
            }
        }
    }
    Ok(read(&sent))
}

fn key() -> Vec<u8> {
    format!("a key: {}{} in a text", "AKIA", "Z7QK2M4N6P5R3T6V").into_bytes()
}

#[test]
fn messages_arrive_as_they_were_sent_however_they_are_cut() {
    // Each form of a length, and cuts in every place of a head.
    for (length, cuts) in [(700, &[1, 2, 3, 7][..]), (70_000, &[1000, 100_000])] {
        let long = vec![b'x'; length];
        for sender in [Sender::Client, Sender::Origin] {
            let bytes = [
                frame(sender, TEXT, false, b"hel"),
                frame(sender, PING, true, b"ping"),
                frame(sender, CONTINUATION, true, b"lo"),
                frame(sender, BINARY, true, &long),
                frame(sender, TEXT, true, b""),
                frame(sender, CLOSE, true, &[3, 232]),
            ];
            let mut expected = vec![
                (PING, b"ping".to_vec()),
                (TEXT, b"hello".to_vec()),
                (BINARY, long.clone()),
                (TEXT, vec![]),
                (CLOSE, vec![3, 232]),
            ];
            expected.sort();
            for &cut in cuts {
                let got = match sender {
                    Sender::Client => out(ScanMode::Block, Agreement::Nothing, &bytes.concat(), cut),
                    Sender::Origin => back(Agreement::Nothing, &bytes.concat(), cut),
                };
                let mut got = got.unwrap();
                got.sort();
                assert!(got == expected, "cut {cut}");
            }
        }
    }
}

#[test]
fn a_secret_is_found_over_fragments_in_control_frames_and_compressed() {
    let key = key();
    let zipped = Deflater::new().message(&key);
    let mut window = Deflater::new();
    // The second message is little more than a reference into the first one's window.
    let (first, second) = (window.message(b"AKIAZ7QK2M4N and 6P5R3T6V"), window.message(&key));
    let forms = [
        client(TEXT, true, &key),
        client(BINARY, true, &key),
        client(PING, true, &key),
        [client(TEXT, false, &key[..14]), client(CONTINUATION, true, &key[14..])].concat(),
        client(COMPRESSED | TEXT, true, &zipped),
        [client(COMPRESSED | BINARY, false, &zipped[..9]), client(CONTINUATION, true, &zipped[9..])].concat(),
        [client(COMPRESSED | TEXT, true, &first), client(COMPRESSED | TEXT, true, &second)].concat(),
    ];
    for (index, bytes) in forms.iter().enumerate() {
        for cut in [1, 5, 4096] {
            let verdict = out(ScanMode::Block, Agreement::Deflate, bytes, cut);
            assert!(matches!(verdict, Err(WebSocketError::Found(_))), "form {index}, cut {cut}");
            assert!(out(ScanMode::Record, Agreement::Deflate, bytes, cut).is_ok());
            assert!(out(ScanMode::Off, Agreement::Deflate, bytes, cut).is_ok());
        }
    }
}

#[test]
fn a_secret_before_the_compression_breaks_is_found_however_it_is_cut() {
    // So much follows the key that its verdict need not wait for more.
    let said = [key(), vec![b' '; 10_000]].concat();
    let broken = [Deflater::new().message(&said), vec![0xff; 100]].concat();
    let bytes = client(COMPRESSED | BINARY, false, &broken);
    for cut in [1, 5, 4096] {
        let mut recording = Outgoing::new(SCANNER.clone(), Exemptions::default(), ScanMode::Record, Agreement::Deflate);
        let verdict = through(&bytes, cut, |bytes, out| recording.push(bytes, out));
        assert!(matches!(verdict, Err(WebSocketError::Frame { .. })), "cut {cut}");
        assert_eq!(recording.recorded().len(), 1, "cut {cut}");
    }
}

#[test]
fn compressed_messages_go_on_plain_and_plain_ones_between_them_too() {
    let (mut window, mut bytes, mut expected) = (Deflater::new(), Vec::new(), Vec::new());
    for n in 0..5 {
        let text = format!("{n}: {}", "again and again ".repeat(100 * n)).into_bytes();
        bytes.extend(client(COMPRESSED | TEXT, true, &window.message(&text)));
        bytes.extend(client(TEXT, true, b"as it is"));
        expected.extend([(TEXT, text), (TEXT, b"as it is".to_vec())]);
    }
    // An empty message as RFC 7692 §7.2.3.6 writes it.
    bytes.extend(client(COMPRESSED | TEXT, true, &[0]));
    expected.push((TEXT, vec![]));
    for cut in [1, 3, 1000] {
        assert!(out(ScanMode::Block, Agreement::Deflate, &bytes, cut).unwrap() == expected, "cut {cut}");
    }
}

#[test]
fn a_block_that_calls_itself_the_last_is_understood() {
    // RFC 7692 §7.2.3.4: "Hello".
    let bytes = client(COMPRESSED | TEXT, true, &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
    assert_eq!(out(ScanMode::Block, Agreement::Deflate, &bytes, 1).unwrap(), [(TEXT, b"Hello".to_vec())]);
}

#[test]
fn a_bomb_is_refused_in_bounded_memory() {
    let bomb = Deflater::new().message(&vec![b'a'; 64 << 20]);
    let verdict = out(ScanMode::Off, Agreement::Deflate, &client(COMPRESSED | BINARY, true, &bomb), 16 * 1024);
    assert!(matches!(verdict, Err(WebSocketError::Frame { .. })), "{} bytes were taken", bomb.len());
}

#[test]
fn what_is_no_frame_ends_the_websocket() {
    let mut bare = client(TEXT, true, b"x");
    bare[1] &= 0x7f;
    for bytes in [
        bare,
        client(COMPRESSED | TEXT, true, b"x"),
        client(0x20 | TEXT, true, b"x"),
        client(CONTINUATION, true, b"x"),
        [client(TEXT, false, b"x"), client(TEXT, true, b"y")].concat(),
        client(PING, false, b"x"),
        client(PING, true, &[0; 126]),
        client(3, true, b"x"),
    ] {
        let verdict = out(ScanMode::Block, Agreement::Nothing, &bytes, 1);
        assert!(matches!(verdict, Err(WebSocketError::Frame { .. })), "{bytes:?}");
    }
    for bytes in [
        client(COMPRESSED | TEXT, true, b"no deflate stream"),
        client(COMPRESSED | PING, true, b"x"),
        [client(TEXT, false, b"x"), client(COMPRESSED, true, b"y")].concat(),
    ] {
        let verdict = out(ScanMode::Block, Agreement::Deflate, &bytes, 1);
        assert!(matches!(verdict, Err(WebSocketError::Frame { .. })), "{bytes:?}");
    }
    assert!(back(Agreement::Nothing, &client(TEXT, true, b"masked"), 1).is_err());
}

#[test]
fn text_that_is_not_utf_8_ends_the_websocket_before_its_message_does() {
    let split = ["\u{3ba}\u{1f79}".as_bytes().to_vec(), b"\xf4\x90".to_vec()];
    let zipped = Deflater::new().message(b"caf\xe9");
    for bytes in [
        client(TEXT, true, b"caf\xe9"),
        client(TEXT, false, b"caf\xe9!"),
        [client(TEXT, false, &split[0]), client(CONTINUATION, false, &split[1])].concat(),
        client(COMPRESSED | TEXT, true, &zipped),
    ] {
        for (mode, cut) in [(ScanMode::Block, 1), (ScanMode::Record, 5), (ScanMode::Off, 4096)] {
            let verdict = out(mode, Agreement::Deflate, &bytes, cut);
            assert!(matches!(verdict, Err(WebSocketError::Text)), "{bytes:?}");
        }
    }
    let secret = [key(), b"\xff".to_vec()].concat();
    let verdict = out(ScanMode::Block, Agreement::Nothing, &client(TEXT, false, &secret), 4096);
    assert!(matches!(verdict, Err(WebSocketError::Found(_))), "what was said before is judged");
    for bytes in [
        client(BINARY, true, b"caf\xe9"),
        [client(TEXT, false, b"caf\xc3"), client(CONTINUATION, true, b"\xa9")].concat(),
    ] {
        assert!(out(ScanMode::Block, Agreement::Nothing, &bytes, 1).is_ok(), "{bytes:?}");
    }
    assert!(
        back(Agreement::Nothing, &origin(TEXT, true, b"caf\xe9"), 1).is_ok(),
        "an origin's text is its client's to judge"
    );
}

#[test]
fn an_answer_is_masked_over_frames_and_not_over_messages() {
    let (head, tail) = VALUE.split_at(5);
    let bytes = [
        origin(TEXT, false, format!("a {head}").as_bytes()),
        origin(PING, true, VALUE.as_bytes()),
        origin(CONTINUATION, true, tail.as_bytes()),
        origin(TEXT, true, head.as_bytes()),
        origin(TEXT, true, tail.as_bytes()),
    ];
    for cut in [1, 3, 1000] {
        let mut got = back(Agreement::Nothing, &bytes.concat(), cut).unwrap();
        got.sort();
        let stars = "*".repeat(VALUE.len());
        let mut expected =
            [(PING, stars.clone()), (TEXT, format!("a {stars}")), (TEXT, head.to_owned()), (TEXT, tail.to_owned())]
                .map(|(opcode, text)| (opcode, text.into_bytes()));
        expected.sort();
        assert_eq!(got, expected, "cut {cut}");
    }
}

#[test]
fn a_message_that_ends_in_the_first_bytes_of_a_credential_goes_out_whole() {
    let mut incoming = Incoming::new(Mask::of(&[VALUE]), Agreement::Nothing);
    let (mut bytes, mut out) = (BytesMut::from(&origin(TEXT, true, b"this is")[..]), BytesMut::new());
    incoming.push(&mut bytes, &mut out).unwrap();
    assert_eq!(read(&out), [(TEXT, b"this is".to_vec())]);
}

#[test]
fn compressed_answers_are_masked() {
    let text = format!("you sent {VALUE}, thank you. ").repeat(50);
    let zipped = Deflater::new().message(text.as_bytes());
    let expected = text.replace(VALUE, &"*".repeat(VALUE.len()));
    for cut in [1, 7, 1000] {
        let got = back(Agreement::Deflate, &origin(COMPRESSED | TEXT, true, &zipped), cut).unwrap();
        assert_eq!(got, [(TEXT, expected.clone().into_bytes())], "cut {cut}");
    }
}

#[test]
fn a_close_frame_says_why_within_its_bounds() {
    let mut sent = BytesMut::new();
    write_control(&mut sent, Sender::Origin, CLOSE, &[3, 240, b'n', b'o']);
    assert_eq!(super::close(1008, "no"), Bytes::from(sent));
    assert_eq!(super::close(1002, &"\u{e9}".repeat(200)).len(), 2 + 2 + 122);
}

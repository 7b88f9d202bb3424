//! WebSocket frames of a client: the verdict and what goes on depend on the bytes alone, never on how they are cut.

use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use egress_proxy::{
    scan::{Exemptions, Scanner},
    websocket::{Agreement, Outgoing, Progress},
};
use shared::routes::ScanMode;

use crate::pieces::{pieces, split};

static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));

pub(crate) fn run(input: &[u8]) {
    let Some((cut, bytes)) = split(input) else { return };
    let modes = [
        (ScanMode::Block, Agreement::Nothing),
        (ScanMode::Record, Agreement::Nothing),
        (ScanMode::Off, Agreement::Nothing),
        (ScanMode::Block, Agreement::Deflate),
    ];
    for mode in modes {
        let (whole, cut) = (through(mode, bytes, bytes.len().max(1)), through(mode, bytes, cut));
        assert_eq!(whole.0, cut.0, "the verdict");
        if whole.0.is_none() {
            let ((whole, control), (cut, cut_control)) = (whole.1, cut.1);
            assert_eq!(control, cut_control, "what goes on in control frames");
            // Of a message that has not ended, more or less is still held back.
            assert!(whole.starts_with(&cut) || cut.starts_with(&whole), "what goes on");
        }
    }
}

/// The refusal, and the payload of what went on.
fn through((mode, agreement): (ScanMode, Agreement), bytes: &[u8], cut: usize) -> (Option<String>, (Vec<u8>, Vec<u8>)) {
    let mut outgoing = Outgoing::new(SCANNER.clone(), Exemptions::default(), mode, agreement);
    let (mut unread, mut sent, mut refused) = (BytesMut::new(), Vec::new(), None);
    for piece in pieces(bytes, cut) {
        unread.extend_from_slice(piece);
        let mut progress = Ok(Progress::Full);
        while let Ok(Progress::Full) = progress {
            let mut out = BytesMut::new();
            progress = outgoing.push(&mut unread, &mut out);
            sent.extend_from_slice(&out);
        }
        if let Err(error) = progress {
            refused = Some(error.to_string());
            break;
        }
    }
    (refused, payload(&sent))
}

/// The content of frames that the proxy wrote, which are well formed, by their kinds: control frames may stand between
/// the frames of a message, and where depends on what was released when.
fn payload(mut frames: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut content, mut control) = (Vec::new(), Vec::new());
    while let [first, second, rest @ ..] = frames {
        let (length, rest) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().expect("eight bytes")) as usize, &rest[8..]),
            short => (usize::from(short), rest),
        };
        let (mask, rest) = rest.split_at(4);
        let plain = rest[..length].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
        if first & 0x08 != 0 {
            control.extend(plain)
        } else {
            content.extend(plain)
        }
        frames = &rest[length..];
    }
    (content, control)
}

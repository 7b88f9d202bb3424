//! Messages of a gRPC stream: the verdict depends on the bytes alone, and what leaves before it is a beginning of them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use egress_proxy::{
    grpc::Messages,
    scan::{
        Exemptions, Scanner,
        stream::{OnFinding, ScanError},
    },
};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};

use crate::{
    pieces::{pieces, split},
    scan::with_keys,
};

static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));

/// The first byte says what compressed messages are coded with, the second how the stream is cut.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let Some((cut, content)) = split(rest) else { return };
    let content = with_keys(content);
    let mut fields = HeaderMap::new();
    if let Some(coding) = ["gzip", "zstd", "deflate"].get(usize::from(first) % 4) {
        fields.insert(HeaderName::from_static("grpc-encoding"), HeaderValue::from_static(coding));
    }
    let (stopped, left) = through(&fields, [&content[..]].into_iter());
    let (cut_stopped, cut_left) = through(&fields, pieces(&content, cut));
    assert_eq!(stopped, cut_stopped, "the verdict");
    for (stopped, left) in [(stopped, left), (cut_stopped, cut_left)] {
        assert!(content.starts_with(&left), "other bytes left than came");
        assert!(stopped || left.len() == content.len(), "{} of {} bytes left", left.len(), content.len());
    }
}

/// Whether the stream was stopped, and what left of it.
fn through<'c>(fields: &HeaderMap, pieces: impl Iterator<Item = &'c [u8]>) -> (bool, Vec<u8>) {
    let body = Pieces(pieces.map(Bytes::copy_from_slice).collect());
    let mut messages = Messages::new(body, fields, SCANNER.clone(), Exemptions::default(), OnFinding::Stop);
    let (mut left, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
    loop {
        match Pin::new(&mut messages).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => left.extend_from_slice(frame.data_ref().expect("no trailers came")),
            Poll::Ready(Some(Err(ScanError::Found(_)))) => return (true, left),
            Poll::Ready(None) => return (false, left),
            Poll::Ready(Some(Err(ScanError::Body(never)))) => match never {},
            Poll::Pending => panic!("everything was there"),
        }
    }
}

/// A body that is there.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

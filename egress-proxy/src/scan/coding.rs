//! Content codings (RFC 9110, section 8.4) undone as the content passes: gzip, deflate, br and zstd, two deep.
//!
//! What cannot be undone cannot be judged, so an unknown coding, broken data and a bomb are all [`Unreadable`]. A
//! decoder never writes more than a step's worth before its output is looked at and counted.

mod brotli;
mod chunks;
mod grpc;

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

pub use self::brotli::Skipped;
use self::{brotli::Unbrotli, chunks::Unframed, grpc::Messages};
use super::Layer;

/// The most codings of one content.
const DEPTH: usize = 2;
/// Content may unfold to this size whatever its ratio.
const FREE: u64 = 16 << 20;
/// Beyond that, to this many times the size that was sent.
const RATIO: u64 = 200;
/// The largest window of zstd (RFC 8878, section 3.1.1.1.2: what a decoder should support).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Why a coded content cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the content coding `{0}` cannot be read")]
    Unknown(String),
    #[error("more than {DEPTH} content codings lie on top of each other")]
    TooMany,
    #[error("the content is not valid {}", .0.name())]
    Invalid(Layer),
    #[error("the content ends in the middle of its {} data", .0.name())]
    Cut(Layer),
    #[error("the content unfolds to more than {RATIO} times its size")]
    Bomb,
}

/// The codings of one content, outermost first.
pub struct Codings {
    stages: Vec<Stage>,
    read: u64,
    written: u64,
}

struct Stage {
    layer: Layer,
    decoder: Decoder,
}

enum Decoder {
    AwsChunked(Unframed),
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Two forms go by this name: the first bytes tell which (RFC 9110, section 8.4.1.2).
    Deflate(Deflate),
    Brotli(Box<Unbrotli>),
    Zstd {
        decoder: ZstdDecoder<'static>,
        between_frames: bool,
        out: Vec<u8>,
    },
    /// The messages of a gRPC stream, each with a coding of its own.
    Grpc(Box<Messages>),
}

enum Deflate {
    Undecided(Vec<u8>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
}

impl Codings {
    /// The codings that the fields of a request name; none for plain content.
    pub fn of(fields: &HeaderMap) -> Result<Codings, Unreadable> {
        Self::named(fields, Skipped::IsAnError)
    }

    /// The same for an answer, of which a client reads no more than its decoder shows.
    pub fn of_answer(fields: &HeaderMap) -> Result<Codings, Unreadable> {
        Self::named(fields, Skipped::Passes)
    }

    fn named(fields: &HeaderMap, skipped: Skipped) -> Result<Codings, Unreadable> {
        let mut stages = Vec::new();
        for value in fields.get_all(CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| Unreadable::Unknown("not text".to_owned()))?;
            for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                stages.extend(Stage::named(name, skipped)?);
            }
        }
        if stages.len() > DEPTH {
            return Err(Unreadable::TooMany);
        }
        stages.reverse();
        if let Some(messages) = Messages::of(fields) {
            stages.push(Stage { layer: messages.layer(), decoder: Decoder::Grpc(Box::new(messages)) });
        }
        Ok(Codings { stages, read: 0, written: 0 })
    }

    /// A coding that the first bytes give away although no field names it.
    pub(super) fn sniffed(first: &[u8]) -> Option<Codings> {
        let name = match first {
            [0x1f, 0x8b, 8, ..] => "gzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            _ => return None,
        };
        let stages = Stage::named(name, Skipped::IsAnError).ok()?.into_iter().collect();
        Some(Codings { stages, read: 0, written: 0 })
    }

    pub fn is_plain(&self) -> bool {
        self.stages.is_empty()
    }

    pub fn layers(&self) -> Vec<Layer> {
        self.stages.iter().map(|stage| stage.layer).collect()
    }

    /// Decodes the next bytes. Give some KiB at a time: the answer may be a thousand times larger.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        self.read += bytes.len() as u64;
        let mut bytes = bytes.to_vec();
        for stage in &mut self.stages {
            bytes = stage.decode(&bytes)?;
            self.written += bytes.len() as u64;
            if self.written > FREE && self.written > self.read * RATIO {
                return Err(Unreadable::Bomb);
            }
        }
        Ok(bytes)
    }

    /// No more bytes come: what the decoders still hold, if what they got was whole.
    pub fn finish(&mut self) -> Result<Vec<u8>, Unreadable> {
        if self.read == 0 {
            return Ok(Vec::new());
        }
        let mut carried = Vec::new();
        for stage in &mut self.stages {
            let mut bytes = stage.decode(&carried)?;
            bytes.extend(stage.finish()?);
            carried = bytes;
        }
        Ok(carried)
    }
}

impl Codings {
    /// What the innermost coding unfolded to before it broke off, after an error.
    pub(super) fn salvage(&mut self) -> Vec<u8> {
        match self.stages.last_mut().map(|stage| &mut stage.decoder) {
            Some(Decoder::Gzip(decoder)) => {
                // Hands over what is decoded, and meets the error again.
                let _broken = decoder.flush();
                std::mem::take(decoder.get_mut())
            }
            Some(Decoder::Zstd { out, .. }) => std::mem::take(out),
            _ => Vec::new(),
        }
    }
}

impl Stage {
    fn named(name: &str, skipped: Skipped) -> Result<Option<Stage>, Unreadable> {
        let unusable = |_| Unreadable::Unknown(name.to_owned());
        let (layer, decoder) = match name.to_ascii_lowercase().as_str() {
            "identity" => return Ok(None),
            "aws-chunked" => (Layer::AwsChunked, Decoder::AwsChunked(Unframed::default())),
            "gzip" | "x-gzip" => (Layer::Gzip, Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            "deflate" => (Layer::Deflate, Decoder::Deflate(Deflate::Undecided(Vec::new()))),
            "br" => (Layer::Brotli, Decoder::Brotli(Box::new(Unbrotli::new(skipped)))),
            "zstd" => {
                let mut decoder = ZstdDecoder::new().map_err(unusable)?;
                let window = zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG);
                decoder.set_parameter(window).map_err(unusable)?;
                (Layer::Zstd, Decoder::Zstd { decoder, between_frames: true, out: Vec::new() })
            }
            _ => return Err(Unreadable::Unknown(name.to_owned())),
        };
        Ok(Some(Stage { layer, decoder }))
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        match &mut self.decoder {
            Decoder::Grpc(messages) => messages.decode(bytes),
            decoder => decoder.decode(bytes).map_err(|_| Unreadable::Invalid(self.layer)),
        }
    }

    fn finish(&mut self) -> Result<Vec<u8>, Unreadable> {
        self.decoder.finish().map_err(|_| Unreadable::Cut(self.layer))
    }
}

impl Decoder {
    fn decode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Decoder::AwsChunked(unframed) => unframed.decode(bytes),
            Decoder::Gzip(decoder) => written(decoder, bytes, |decoder| decoder.get_mut()),
            Decoder::Brotli(decoder) => decoder.decode(bytes),
            Decoder::Deflate(deflate) => deflate.decode(bytes),
            Decoder::Zstd { decoder, between_frames, out } => {
                unzstd(decoder, between_frames, bytes, out)?;
                Ok(std::mem::take(out))
            }
            Decoder::Grpc(messages) => messages.decode(bytes).map_err(io::Error::other),
        }
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Decoder::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Decoder::Brotli(decoder) if decoder.is_whole() => Ok(Vec::new()),
            Decoder::Deflate(Deflate::Zlib(decoder)) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Decoder::Deflate(Deflate::Raw(decoder)) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Decoder::Deflate(Deflate::Undecided(_)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Decoder::Zstd { between_frames: true, .. } => Ok(Vec::new()),
            Decoder::Grpc(messages) if messages.is_whole() => Ok(Vec::new()),
            Decoder::AwsChunked(unframed) if unframed.is_whole() => Ok(Vec::new()),
            Decoder::AwsChunked(_) | Decoder::Brotli(_) | Decoder::Zstd { .. } | Decoder::Grpc(_) => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

impl Deflate {
    fn decode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Deflate::Zlib(decoder) => written(decoder, bytes, |decoder| decoder.get_mut()),
            Deflate::Raw(decoder) => written(decoder, bytes, |decoder| decoder.get_mut()),
            Deflate::Undecided(first) => {
                first.extend_from_slice(bytes);
                let [method, flags, ..] = first[..] else { return Ok(Vec::new()) };
                // RFC 1950, section 2.2: the two bytes are a multiple of 31.
                let zlib = method & 15 == 8 && (u16::from(method) << 8 | u16::from(flags)) % 31 == 0;
                let first = std::mem::take(first);
                *self = if zlib {
                    Deflate::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
                } else {
                    Deflate::Raw(Box::new(DeflateDecoder::new(Vec::new())))
                };
                self.decode(&first)
            }
        }
    }
}

/// Writes into a decoder that writes into memory; answers what came out. What follows the end of the data is an error.
fn written<D: Write>(decoder: &mut D, bytes: &[u8], output: fn(&mut D) -> &mut Vec<u8>) -> io::Result<Vec<u8>> {
    decoder.write_all(bytes)?;
    // Everything that these bytes decide, now: who reads along must see it before they go on.
    decoder.flush()?;
    Ok(std::mem::take(output(decoder)))
}

fn unzstd(
    decoder: &mut ZstdDecoder<'static>,
    between_frames: &mut bool,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut input = InBuffer::around(bytes);
    let mut buffer = [0; 16 << 10];
    loop {
        let before = input.pos();
        let mut output = OutBuffer::around(&mut buffer[..]);
        if *between_frames && input.pos() < bytes.len() {
            decoder.reinit()?;
        }
        let hint = decoder.run(&mut input, &mut output)?;
        let fresh = output.as_slice();
        out.extend_from_slice(fresh);
        // Nothing taken and nothing given: the frame goes on with the next bytes.
        let idle = fresh.is_empty() && input.pos() == before;
        if input.pos() > before || !fresh.is_empty() {
            *between_frames = hint == 0;
        }
        if idle || (hint == 0 && input.pos() == bytes.len()) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http::HeaderValue;

    use super::*;

    fn codings(name: &'static str) -> Codings {
        let fields = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(name))]);
        Codings::of(&fields).expect("the coding is known")
    }

    fn decoded(name: &'static str, bytes: &[u8], cut: usize) -> Result<Vec<u8>, Unreadable> {
        let mut codings = codings(name);
        let mut out = Vec::new();
        for chunk in bytes.chunks(cut) {
            out.extend(codings.decode(chunk)?);
        }
        out.extend(codings.finish()?);
        Ok(out)
    }

    fn text() -> Vec<u8> {
        (0..4000_u32).flat_map(|n| format!("line {n} of a text\n").into_bytes()).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzEncoder::new(text, flate2::Compression::default()).read_to_end(&mut out).expect("memory");
        out
    }

    #[test]
    fn every_coding_is_undone_however_it_is_cut() {
        let mut zlib = Vec::new();
        flate2::read::ZlibEncoder::new(&text()[..], flate2::Compression::fast())
            .read_to_end(&mut zlib)
            .expect("memory");
        let mut raw = Vec::new();
        flate2::read::DeflateEncoder::new(&text()[..], flate2::Compression::fast())
            .read_to_end(&mut raw)
            .expect("memory");
        let zstd = zstd::encode_all(&text()[..], 3).expect("memory");
        let frames =
            [zstd::encode_all(&text()[..9], 3).expect("memory"), zstd::encode_all(&text()[9..], 19).expect("memory")];
        let twice = gzip(&zstd);
        for (name, bytes) in [
            ("gzip", gzip(&text())),
            ("deflate", zlib),
            ("deflate", raw),
            ("zstd", zstd),
            ("zstd", frames.concat()),
            ("zstd, gzip", twice),
        ] {
            for cut in [1, 7, 1024, usize::MAX] {
                assert_eq!(decoded(name, &bytes, cut).as_deref(), Ok(&text()[..]), "{name}, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert_eq!(decoded("gzip", &bomb, 1024), Err(Unreadable::Bomb));
    }

    #[test]
    fn cut_and_foreign_data_is_refused() {
        let whole = gzip(&text());
        assert_eq!(decoded("gzip", &whole[..whole.len() - 9], 1024), Err(Unreadable::Cut(Layer::Gzip)));
        assert_eq!(decoded("gzip", b"plain text", 1024), Err(Unreadable::Invalid(Layer::Gzip)));
        let foreign = [&whole[..], b"and plain text"].concat();
        assert_eq!(decoded("gzip", &foreign, 1024), Err(Unreadable::Invalid(Layer::Gzip)));
    }

    #[test]
    fn unknown_codings_are_refused() {
        let fields = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("compress"))]);
        assert_eq!(Codings::of(&fields).err(), Some(Unreadable::Unknown("compress".to_owned())));
    }

    #[test]
    fn compressed_grpc_messages_are_undone() {
        let message = |flag: u8, body: &[u8]| [&[flag][..], &(body.len() as u32).to_be_bytes(), body].concat();
        let stream = [message(1, &gzip(&text())), message(0, b""), message(0, b"plain"), message(1, &gzip(b"end"))];
        let fields = HeaderMap::from_iter([
            (http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto")),
            (http::HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip")),
        ]);
        for cut in [1, 5, 1000] {
            let mut codings = Codings::of(&fields).expect("gzip is known");
            let mut out = Vec::new();
            for chunk in stream.concat().chunks(cut) {
                out.extend(codings.decode(chunk).expect("the stream is valid"));
            }
            out.extend(codings.finish().expect("the stream is whole"));
            assert_eq!(out, [&text()[..], b"plainend"].concat(), "cut at {cut}");
        }
    }
}

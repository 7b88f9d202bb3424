//! The ways in which an agent may send a text: each puts it into a part of a request.

use std::{io::Read, sync::Arc};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use egress_proxy::scan::{Exemptions, Finding, Scanner};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_ENCODING};

/// What the scan said; `None` when the text cannot go that way.
pub(crate) type Verdict = Option<Result<(), Finding>>;

/// A way to send a text.
pub(crate) struct Carrier {
    pub(crate) name: &'static str,
    pub(crate) send: fn(&Arc<Scanner>, &str) -> Verdict,
}

macro_rules! carriers {
    ($($name:literal => $send:expr),* $(,)?) => { &[$(Carrier { name: $name, send: $send }),*] };
}

pub(crate) const ALL: &[Carrier] = carriers![
    "plain text" => |scanner, secret| content(scanner, &around(secret)),
    "before a comma" => |scanner, secret| content(scanner, &format!("use {secret}, then go on")),
    "before a full stop" => |scanner, secret| content(scanner, &format!("It is {secret}. Then go on.")),
    "JSON string" => |scanner, secret| content(scanner, &json(secret)),
    "escaped line breaks" => |scanner, secret| content(scanner, &json(&format!("a\n{secret}\nb"))),
    "code in JSON" => |scanner, secret| content(scanner, &json(&format!("let key = \"{secret}\";\n\tuse(key);"))),
    "JSON in JSON" => |scanner, secret| content(scanner, &json(&json(secret))),
    "every character escaped" => |scanner, secret| {
        let escaped: String = secret.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        content(scanner, &format!("{{\"a\": \"{escaped}\"}}"))
    },
    "form" => |scanner, secret| content(scanner, &format!("user=ada&value={}&end=1", percent(secret, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)))),
    "multipart" => |scanner, secret| {
        content(scanner, &format!("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n{secret}\r\n--b--\r\n"))
    },
    "every character in percent" => |scanner, secret| content(scanner, &percent(secret, |_| false)),
    "query" => |scanner, secret| target(scanner, &format!("/search?q={}&n=1", percent(secret, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)))),
    "path" => |scanner, secret| target(scanner, &format!("/v1/{}/items", percent(secret, |byte| byte.is_ascii_alphanumeric() || b"-_.~:@".contains(&byte)))),
    "field" => |scanner, secret| field(scanner, "x-note", &around(secret)),
    "cookie" => |scanner, secret| field(scanner, "cookie", &format!("a=1; session={secret}; b=2")),
    "trailer" => |scanner, secret| {
        let fields = fields("x-digest", &around(secret))?;
        Some(scanner.trailers(&fields, &Exemptions::default()))
    },
    "base64" => |scanner, secret| content(scanner, &json(&BASE64_STANDARD.encode(secret))),
    "base64, one byte later" => |scanner, secret| content(scanner, &json(&BASE64_STANDARD.encode(format!(" {secret} ")))),
    "base64, two bytes later" => |scanner, secret| content(scanner, &json(&BASE64_STANDARD.encode(format!("= {secret}\n")))),
    "base64url" => |scanner, secret| target(scanner, &format!("/?state={}", BASE64_URL_SAFE_NO_PAD.encode(around(secret)))),
    "base64 in lines" => |scanner, secret| {
        let text = BASE64_STANDARD.encode(format!("{}{}", "some text before it ".repeat(4), around(secret)));
        let lines: Vec<&str> = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        content(scanner, &lines.join("\r\n"))
    },
    "base64 twice" => |scanner, secret| content(scanner, &BASE64_STANDARD.encode(BASE64_STANDARD.encode(around(secret)))),
    "hex" => |scanner, secret| content(scanner, &hex(secret)),
    "HEX" => |scanner, secret| content(scanner, &hex(secret).to_uppercase()),
    "gzip" => |scanner, secret| coded(scanner, "gzip", &json(secret)),
    "deflate" => |scanner, secret| coded(scanner, "deflate", &json(secret)),
    "br" => |scanner, secret| coded(scanner, "br", &json(secret)),
    "zstd" => |scanner, secret| coded(scanner, "zstd", &json(secret)),
    "gzip that no field names" => |scanner, secret| bytes(scanner, &HeaderMap::new(), &gzip(around(secret).as_bytes())),
    "base64 in gzip" => |scanner, secret| coded(scanner, "gzip", &json(&BASE64_STANDARD.encode(secret))),
    "UTF-16, little end first" => |scanner, secret| {
        let wide: Vec<u8> = around(secret).encode_utf16().flat_map(u16::to_le_bytes).collect();
        plain(scanner, &wide)
    },
    "UTF-16, big end first" => |scanner, secret| {
        let wide: Vec<u8> = around(secret).encode_utf16().flat_map(u16::to_be_bytes).collect();
        plain(scanner, &wide)
    },
    "byte by byte" => |scanner, secret| {
        let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
        let text = around(secret);
        let pushed = text.bytes().try_for_each(|byte| scan.push(Bytes::copy_from_slice(&[byte])).map(drop));
        Some(pushed.and_then(|()| scan.finish().map(drop)))
    },
];

/// As people write it into a sentence.
fn around(secret: &str) -> String {
    format!("the value is {secret} as said")
}

fn json(text: &str) -> String {
    serde_json::json!({ "role": "user", "content": text }).to_string()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn percent(text: &str, stays: fn(u8) -> bool) -> String {
    text.bytes().map(|byte| if stays(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn content(scanner: &Arc<Scanner>, text: &str) -> Verdict {
    plain(scanner, text.as_bytes())
}

/// What is found in a short content is found in a long one, wherever it stands there and however it comes.
fn plain(scanner: &Arc<Scanner>, text: &[u8]) -> Verdict {
    let judged = |text: &[u8], piece: usize| {
        let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
        let mut pieces = text.chunks(piece).map(Bytes::copy_from_slice);
        pieces.try_for_each(|piece| scan.push(piece).map(drop)).and_then(|()| scan.finish()).map(drop)
    };
    let alone = judged(text, usize::MAX);
    if let Err(finding) = &alone {
        let filler = "so it goes on and on as it was, ".repeat(200);
        let lead = &filler[..filler.len() - text.len() % 64];
        let amid = [format!("{lead}\n").as_bytes(), text, format!("\n{filler}").as_bytes()].concat();
        for piece in [usize::MAX, 5000, 1000] {
            let found = judged(&amid, piece).expect_err("found amid a long text too");
            assert_eq!(found.rule, finding.rule, "{} in pieces of {piece}", String::from_utf8_lossy(text));
        }
    }
    Some(alone)
}

fn bytes(scanner: &Arc<Scanner>, fields: &HeaderMap, text: &[u8]) -> Verdict {
    let mut scan = scanner.content(fields, Exemptions::default());
    Some(scan.push(Bytes::copy_from_slice(text)).and_then(|_| scan.finish()).map(drop))
}

fn coded(scanner: &Arc<Scanner>, coding: &'static str, text: &str) -> Verdict {
    let fields = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
    let text = text.as_bytes();
    let coded = match coding {
        "gzip" => gzip(text),
        "deflate" => {
            let mut out = Vec::new();
            flate2::read::ZlibEncoder::new(text, flate2::Compression::best()).read_to_end(&mut out).unwrap();
            out
        }
        "zstd" => zstd::encode_all(text, 3).unwrap(),
        // Stored (RFC 7932, section 9.2): a window of 16 bits, one uncompressed meta-block, an empty last one.
        "br" => {
            let length = (text.len() - 1) as u32;
            let header = (length << 4 | 1 << 20).to_le_bytes();
            [&header[..3], text, &[3]].concat()
        }
        _ => panic!("{coding} is no coding"),
    };
    bytes(scanner, &fields, &coded)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(text, flate2::Compression::best()).read_to_end(&mut out).unwrap();
    out
}

fn target(scanner: &Arc<Scanner>, target: &str) -> Verdict {
    Some(scanner.head(&Method::GET, "api.test", target, &HeaderMap::new(), &Exemptions::default()))
}

fn field(scanner: &Arc<Scanner>, name: &'static str, value: &str) -> Verdict {
    let fields = fields(name, value)?;
    Some(scanner.head(&Method::GET, "api.test", "/", &fields, &Exemptions::default()))
}

fn fields(name: &'static str, value: &str) -> Option<HeaderMap> {
    let value = HeaderValue::from_str(value).ok()?;
    Some(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
}

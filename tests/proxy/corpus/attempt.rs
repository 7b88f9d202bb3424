//! One case in one protocol, made on a connection of its own.

use std::fmt;
use std::time::Duration;

use harness::client::{Ending, Field, RawConnection};
use harness::h1::{from_latin1, latin1};
use harness::origin::Origin;
use harness::proxy::{Json, Proxy};

use super::STAND_IN;
use super::group::{Case, Request, Variant};
use crate::CREDENTIAL;

/// One origin and one proxy for every case.
pub(crate) struct Stage {
    pub(crate) origin: Origin,
    pub(crate) proxy: Proxy,
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Outside,
    Tunnel,
    H1,
    H2,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outside => "to the proxy",
            Self::Tunnel => "in a tunnel",
            Self::H1 => "http/1.1",
            Self::H2 => "h2",
        })
    }
}

/// What the client saw of it.
enum Seen {
    Answers(String),
    Frames(Ending),
}

impl Attempt {
    /// In which ways a case can be made.
    pub(crate) fn of(case: &Case) -> Vec<Self> {
        match case.variant {
            Variant::Request(_) => vec![Self::H1, Self::H2],
            Variant::H1(_) => vec![Self::H1],
            Variant::H2(_) => vec![Self::H2],
            Variant::Tunnel(_) => vec![Self::Tunnel],
            Variant::Outside(_) => vec![Self::Outside],
        }
    }

    /// Makes the attempt: no success for the client, and a record that says why.
    pub(crate) async fn is_refused(self, stage: &mut Stage, case: &Case) -> Result<(), String> {
        let before = stage.origin.seen().connections();
        let seen = self.make(stage, case).await;
        if stage.origin.seen().connections() > before {
            return Err(format!("the origin was connected to; {seen}"));
        }
        match &seen {
            Seen::Answers(text) if text.split("HTTP/1.").skip(1).any(is_success) => return Err(text.clone()),
            Seen::Answers(text) if [CREDENTIAL, STAND_IN].iter().any(|value| text.contains(value)) => {
                return Err(format!("the answer tells the secret: {text}"));
            }
            Seen::Frames(Ending::Status(..400)) => return Err(format!("{seen}")),
            _ => {}
        }
        let errors = &case.common.error;
        let expected = match self {
            Self::H2 => errors.last(),
            _ => errors.first(),
        };
        let expected = expected.expect("every group says what the record says");
        let records = self.records(stage, Some(expected)).await;
        let told =
            |record: &Json| says(record, expected) && record["alarm"].as_bool().unwrap_or(false) == case.common.alarm;
        if !records.iter().any(told) {
            let short = |record: &Json| {
                format!("{} {} {} {}", record["kind"], record["outcome"], record["error"], record["reason"])
            };
            return Err(format!(
                "no record says `{expected}`: {:?}; {seen}",
                records.iter().map(short).collect::<Vec<_>>()
            ));
        }
        let text = records.iter().map(Json::to_string).collect::<String>().to_lowercase();
        let secrets = [CREDENTIAL, STAND_IN].map(str::to_lowercase);
        if secrets.iter().any(|secret| text.contains(secret)) {
            return Err(format!("a record tells the secret: {text}"));
        }
        Ok(())
    }

    /// Makes the attempt: the origin has what it should, and nothing of what it must not.
    pub(crate) async fn is_reframed(self, stage: &mut Stage, case: &Case) -> Result<(), String> {
        let before: Vec<usize> = stage.origin.received().iter().map(Vec::len).collect();
        let seen = self.make(stage, case).await;
        let expected = case.common.error.first();
        let records = self.records(stage, expected.map(String::as_str)).await;
        if expected.is_some_and(|expected| !records.iter().any(|record| record["error"] == **expected)) {
            return Err(format!("no record says `{}`: {records:?}; {seen}", expected.expect("there is one")));
        }
        // Connections are used again: what is new on each.
        let new = |(index, bytes): (usize, &Vec<u8>)| from_latin1(&bytes[before.get(index).copied().unwrap_or(0)..]);
        let got: String = stage.origin.received().iter().enumerate().map(new).collect::<String>().to_lowercase();
        let fill =
            |texts: &[String]| texts.iter().map(|text| filled(text, stage, case).to_lowercase()).collect::<Vec<_>>();
        for text in fill(&case.common.origin_has) {
            if !got.contains(&text) {
                return Err(format!("no `{}` in `{}`; {seen}", text.escape_debug(), got.escape_debug()));
            }
        }
        for text in fill(&case.common.origin_lacks) {
            if got.contains(&text) {
                return Err(format!("`{}` in `{}`; {seen}", text.escape_debug(), got.escape_debug()));
            }
        }
        Ok(())
    }

    async fn make(self, stage: &Stage, case: &Case) -> Seen {
        let client = stage.proxy.client();
        let connect = match &case.variant {
            Variant::Request(Request { connect: Some(connect), .. }) => filled(connect, stage, case),
            _ => authority(stage, case),
        };
        let bytes = match &case.variant {
            Variant::Request(request) => h1_request(request, stage, case),
            Variant::H1(text) | Variant::Tunnel(text) | Variant::Outside(text) => filled(text, stage, case),
            Variant::H2(_) => String::new(),
        };
        match self {
            Self::Outside => answers(client.raw().await, &bytes, case).await,
            Self::Tunnel => match client.tunnel(&connect).await {
                Ok(tunnel) => answers(RawConnection::new(tunnel), &bytes, case).await,
                Err(error) => Seen::Answers(error.to_string()),
            },
            Self::H1 => match client.tls(&connect, Some(sni(&connect))).await {
                Ok(stream) => answers(RawConnection::new(stream), &bytes, case).await,
                Err(error) => Seen::Answers(error.to_string()),
            },
            Self::H2 => {
                let mut frames = match client.frames_inside(&connect).await {
                    Ok(frames) => frames,
                    Err(error) => return Seen::Answers(error.to_string()),
                };
                let (head, content, trailers) = h2_request(stage, case);
                frames.request(&head, content.as_deref(), &trailers).await;
                Seen::Frames(frames.ending().await)
            }
        }
    }

    /// The records of the attempt: everything up to the end of its tunnel, and what of it is late.
    async fn records(self, stage: &mut Stage, expected: Option<&str>) -> Vec<Json> {
        let mut records = Vec::new();
        let says = |record: &Json| expected.is_none_or(|expected| says(record, expected));
        loop {
            let Ok(record) = tokio::time::timeout(LATE, stage.proxy.record()).await else { return records };
            records.push(record);
            let tunnel = records.iter().find(|record| record["kind"] == "tunnel").map(|tunnel| tunnel["id"].clone());
            let told = match &tunnel {
                Some(id) => {
                    records.iter().any(|record| says(record) && (record["tunnel"] == *id || record["id"] == *id))
                }
                None => self == Self::Outside && records.iter().any(says),
            };
            if told {
                return records;
            }
        }
    }
}

/// Whether a record tells this error. What HTTP/2 forbids, the library ends without a word to us: then `unseen` is
/// expected, a tunnel with no exchange in it.
fn says(record: &Json, error: &str) -> bool {
    match error {
        "unseen" => record["kind"] == "tunnel" && record["exchanges"] == 0,
        error => record["error"] == *error,
    }
}

/// How long a record may come after the connection has ended.
const LATE: Duration = Duration::from_secs(5);
/// How long an answer may take to what is a whole request.
const PATIENCE: Duration = Duration::from_secs(10);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers(text) => write!(f, "answered `{}`", text.escape_debug()),
            Self::Frames(ending) => write!(f, "ended {ending:?}"),
        }
    }
}

fn is_success(after_version: &str) -> bool {
    let status = after_version.get(2..5).and_then(|status| status.parse::<u16>().ok());
    status.is_some_and(|status| (200..400).contains(&status) || status == 101)
}

/// Sends, reads one answer, says that nothing more comes, and reads the rest.
async fn answers(mut connection: RawConnection, bytes: &str, case: &Case) -> Seen {
    connection.send(latin1(bytes)).await;
    if case.common.finish {
        connection.finish().await;
        return Seen::Answers(from_latin1(&connection.rest().await));
    }
    let first = tokio::time::timeout(PATIENCE, connection.try_answer()).await;
    connection.finish().await;
    let first = match first {
        Ok(answer) => answer.map(|answer| format!("{}\r\n{}", answer.head.start, answer.text())).unwrap_or_default(),
        Err(_) => "(the proxy wants more)".to_owned(),
    };
    Seen::Answers(first + &from_latin1(&connection.rest().await))
}

fn authority(stage: &Stage, case: &Case) -> String {
    format!("{}.localhost:{}", case.common.host, stage.origin.port())
}

/// The server name of an authority that may be none: what a client could ask for.
fn sni(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.')
}

/// Names of things that differ from run to run.
fn filled(text: &str, stage: &Stage, case: &Case) -> String {
    text.replace("AUTHORITY", &authority(stage, case))
        .replace("PORT", &stage.origin.port().to_string())
        .replace("CREDENTIAL", CREDENTIAL)
        .replace("STAND-IN", STAND_IN)
}

fn h1_request(request: &Request, stage: &Stage, case: &Case) -> String {
    let fill = |text: &str| filled(text, stage, case);
    let method = request.method.as_ref().unwrap_or(&case.common.method);
    let target = request.target.as_ref().unwrap_or(&case.common.target);
    let host =
        request.host.as_ref().or(request.connect.as_ref()).map_or_else(|| authority(stage, case), |host| fill(host));
    let mut text = format!("{method} {} HTTP/1.1\r\nHost: {host}\r\n", fill(target));
    for line in lines(request, case) {
        text.push_str(&format!("{}\r\n", fill(&line)));
    }
    match (&request.content, &request.trailers) {
        (Some(content), _) => {
            text.push_str(&format!("Content-Length: {}\r\n\r\n{1}", fill(content).len(), fill(content)))
        }
        (None, Some(trailers)) => {
            let trailers: String = trailers.split('\n').map(|line| format!("{}\r\n", fill(line))).collect();
            text.push_str(&format!("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n"));
        }
        (None, None) => text.push_str("\r\n"),
    }
    text
}

fn lines(request: &Request, case: &Case) -> Vec<String> {
    let fields = request.fields.iter().flat_map(|fields| fields.split('\n')).map(str::to_owned);
    case.common.with.iter().cloned().chain(fields).collect()
}

type H2Request = (Vec<Field>, Option<Vec<u8>>, Vec<Field>);

fn h2_request(stage: &Stage, case: &Case) -> H2Request {
    let fill = |text: &str| filled(text, stage, case);
    let field = |name: &str, value: &str| (latin1(&fill(name)), latin1(&fill(value)));
    let request = match &case.variant {
        Variant::Request(request) => request,
        Variant::H2(fields) => {
            let fields = fields.iter().map(|text| {
                let split = text[1..].find('=').map_or(text.len(), |at| at + 1);
                field(&text[..split], text.get(split + 1..).unwrap_or_default())
            });
            return (fields.collect(), None, Vec::new());
        }
        _ => unreachable!("bytes are no frames"),
    };
    let own = authority(stage, case);
    let host = request.host.as_ref().or(request.connect.as_ref()).unwrap_or(&own);
    let mut head = vec![
        field(":method", request.method.as_ref().unwrap_or(&case.common.method)),
        field(":scheme", "https"),
        field(":authority", host),
        field(":path", request.target.as_ref().unwrap_or(&case.common.target)),
    ];
    let from_line = |line: &str| {
        let (name, value) = line.split_once(':').expect("`name: value`");
        field(&fill(name).to_ascii_lowercase(), value.trim())
    };
    head.extend(lines(request, case).iter().map(|line| from_line(line)));
    let trailers: Vec<Field> = request.trailers.iter().flat_map(|text| text.split('\n')).map(from_line).collect();
    if let Some(content) = &request.content {
        head.push(field("content-length", &fill(content).len().to_string()));
    }
    let content = match (&request.content, trailers.is_empty()) {
        (Some(content), _) => Some(latin1(&fill(content))),
        (None, false) => Some(b"hi".to_vec()),
        (None, true) => None,
    };
    (head, content, trailers)
}

//! `--har`: an archive that other programs read, whole at any time, without what is secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::client::{post, with};
use serde::Deserialize;
use serde_json::Value;

use crate::{AWS_KEY, CREDENTIAL, Stage};

#[tokio::test]
async fn an_exchange_is_archived_with_fields_and_contents_and_without_what_is_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("archive.har");
    let stage = archiving(&path, &[]).await;
    let request =
        with(post(&stage.url("/upload?visible=hidden-value"), "{\"asked\": true}"), "content-type", "application/json");
    let request = with(with(request, "cookie", "own=crumb"), "authorization", "Bearer own-token");
    stage
        .client()
        .send(with(with(request, "x-plain", "plain-value"), "referer", "https://a.example/?q=hidden-value"))
        .await
        .says(200, &[]);
    stage.client().get(&stage.url("/gzip?text=unfolded")).await;
    stage.client().get(&stage.url(&format!("/echo/{AWS_KEY}?x"))).await.says(403, &[]);
    stage.client().h2().get(&stage.url("/other")).await.says(403, &[]);
    stage.proxy.stop().await;

    let text = fs::read_to_string(&path).expect("an archive");
    for secret in ["hidden-value", "crumb", "own-token", CREDENTIAL, AWS_KEY] {
        assert!(!text.contains(secret), "`{secret}` in {text}");
    }
    let entries = entries(&text);
    let [posted, folded, blocked, denied] = &entries[..] else { panic!("{text}") };
    assert_eq!(posted.request.url.split_once('?').map(|(_, query)| query), Some("visible=masked"));
    assert_eq!(posted.request.query_string[0].name, "visible");
    assert_eq!(posted.request.post_data.as_ref().expect("content").text, "{\"asked\": true}");
    let value = |name: &str| posted.request.headers.iter().find(|field| field.name == name).map(|field| &*field.value);
    assert_eq!(
        (value("x-plain"), value("cookie"), value("authorization")),
        (Some("plain-value"), Some("(masked)"), Some("(masked)"))
    );
    assert_eq!(posted.response.content.text.as_deref(), Some("15"), "{text}");
    assert_eq!(posted.record["credential"], "TOKEN");
    assert_eq!(folded.response.content.text.as_deref(), Some("unfolded"));
    for entry in [blocked, denied] {
        assert!(entry.request.headers.is_empty() && entry.response.content.text.is_none(), "{text}");
    }
    assert_eq!((denied.response.status, &*denied.request.http_version), (403, "HTTP/2"));
    assert_eq!(fs::metadata(&path).expect("an archive").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn the_archive_is_whole_before_during_and_after() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("archive.har");
    let mut stage = archiving(&path, &["--har-queries", "--har-content", "0"]).await;
    assert_eq!(entries(&fs::read_to_string(&path).expect("an archive")).len(), 0);
    for count in 1..=3 {
        stage.client().get(&stage.url("/echo?name=value&token=own")).await.says(200, &[]);
        stage.proxy.exchange().await;
        let text = fs::read_to_string(&path).expect("an archive");
        assert_eq!(entries(&text).len(), count, "{text}");
    }
    // A proxy that is killed leaves a whole archive behind.
    stage.proxy.signal(rustix::process::Signal::KILL);
    stage.proxy.ended().await;
    let text = fs::read_to_string(&path).expect("an archive");
    let entry = &entries(&text)[0];
    assert!(entry.request.url.ends_with("?name=value&token=masked"), "{text}");
    assert_eq!(entry.response.content.text, None, "no content was asked for");
}

/// A stage that injects a credential and writes an archive.
async fn archiving(path: &Path, more: &[&str]) -> Stage {
    let rest = "path_allowlist: [/echo, /gzip, /upload], auth: {scheme: Bearer, token_env: TOKEN}";
    Stage::with(rest, |setup| {
        let setup = setup.env("TOKEN", CREDENTIAL).arg("--har").arg(path.to_str().expect("an ASCII name"));
        more.iter().fold(setup, |setup, arg| setup.arg(*arg))
    })
    .await
}

/// Reads an archive by the letter of HAR 1.2: every member that it demands, none that it does not know.
fn entries(text: &str) -> Vec<Entry> {
    let archive: Archive = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((&*archive.log.version, &*archive.log.creator.name), ("1.2", "egress-proxy"));
    archive.log.entries
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    version: String,
    creator: Creator,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to see that it is there")]
struct Creator {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read to see that it is there")]
struct Entry {
    started_date_time: String,
    time: f64,
    request: Request,
    response: Response,
    cache: serde_json::Map<String, Value>,
    timings: Timings,
    #[serde(rename = "serverIPAddress")]
    server_ip_address: Option<std::net::IpAddr>,
    comment: Option<String>,
    #[serde(rename = "_record")]
    record: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read to see that it is there")]
struct Request {
    method: String,
    url: String,
    http_version: String,
    cookies: Vec<Field>,
    headers: Vec<Field>,
    query_string: Vec<Field>,
    post_data: Option<PostData>,
    headers_size: i64,
    body_size: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read to see that it is there")]
struct Response {
    status: u16,
    status_text: String,
    http_version: String,
    cookies: Vec<Field>,
    headers: Vec<Field>,
    content: Content,
    #[serde(rename = "redirectURL")]
    redirect_url: String,
    headers_size: i64,
    body_size: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read to see that it is there")]
struct PostData {
    mime_type: String,
    text: String,
    #[serde(rename = "_encoding")]
    encoding: Option<String>,
    comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read to see that it is there")]
struct Content {
    size: i64,
    mime_type: String,
    text: Option<String>,
    encoding: Option<String>,
    comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to see that it is there")]
struct Timings {
    blocked: f64,
    dns: f64,
    connect: f64,
    send: f64,
    wait: f64,
    receive: f64,
    ssl: f64,
}

//! An origin with one repository, served by git's own CGI program.

use std::path::Path;
use std::process::Stdio;

use harness::h1::{self, Reader};
use harness::origin::{Arrival, Content, Origin, full};
use harness::pki::Pki;
use harness::programs::Program;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A bare repository with one commit on `main`, open for pushes: what refuses them is not the origin.
const MAKE: &str = "git init -q -b main work && cd work && echo content >file && git add file && \
                    git -c user.name=a -c user.email=a@localhost commit -qm first && \
                    git clone -q --bare . ../demo.git && git -C ../demo.git config http.receivepack true";

pub(super) async fn origin(pki: &Pki, name: &str) -> Origin {
    let (made, projects) = Program::installed("sh").args(["-c", MAKE]).run_and_keep().await;
    made.output();
    let projects = std::sync::Arc::new(projects);
    let opening = Origin::opening(name).tls(pki.server(&[name], &["h2", "http/1.1"]));
    let answering = opening.answering(move |request, site| {
        let projects = std::sync::Arc::clone(&projects);
        async move {
            let (parts, body) = request.into_parts();
            let arrival = site.seen.arrived(&parts, body);
            serve(&arrival, &projects).await
        }
    });
    answering.start().await
}

async fn serve(arrival: &Arrival, projects: &TempDir) -> Response<Content> {
    let content = arrival.received().await.kept;
    let (path, query) = arrival.target.split_once('?').unwrap_or((&arrival.target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_PROJECT_ROOT", projects.path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "anyone")
        .env("REQUEST_METHOD", &arrival.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", arrival.value("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", content.len().to_string())
        .env("HTTP_CONTENT_ENCODING", arrival.value("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", arrival.value("git-protocol").unwrap_or_default())
        .current_dir(Path::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A backend that refuses may not read its input.
    let _ = stdin.write_all(&content).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("the child is ours");
    response(&output.stdout).await
}

/// CGI's answer is a head without a status line, and content.
async fn response(output: &[u8]) -> Response<Content> {
    let mut stream = [b"CGI\r\n", output].concat();
    let mut reader = Reader::new();
    let head = reader.head(&mut stream.as_slice()).await.expect("a slice can be read").expect("a head");
    let content = stream.split_off(h1::find(&stream, b"\r\n\r\n").expect("a head") + 4);
    let mut response = Response::new(full(content));
    for (name, value) in &head.fields {
        if name == "Status" {
            let code = value.split(' ').next().and_then(|code| code.parse().ok());
            *response.status_mut() = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        } else {
            let name: HeaderName = name.parse().expect("a field name");
            response.headers_mut().append(name, HeaderValue::from_str(value).expect("a field value"));
        }
    }
    response
}

//! A supervise sidecar under test, with an agent's side and a launcher's.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::proxy::{Lines, binary};
use crate::within;

/// `supervise` as a child process; it ends with its owner.
pub struct Sidecar {
    address: SocketAddr,
    child: Child,
    stdin: ChildStdin,
    stdout: Lines,
}

impl Sidecar {
    /// One whose calls wait this long for an answer.
    pub async fn start(patience: u32) -> Self {
        let mut command = Command::new(binary("supervise-under-test"));
        command.args(["--listen", "127.0.0.1:0", "--patience", &patience.to_string()]).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("supervise starts");
        let mut events = Lines::of(child.stderr.take().expect("a pipe"));
        let ready = within("`supervise.ready`", events.next_where(|line| line["event"] == "supervise.ready")).await;
        let address = ready.expect("it listens")["listen"].as_str().expect("an address").parse().expect("an address");
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { address, child, stdin, stdout: Lines::of(stdout) }
    }

    /// Where an MCP client finds it.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What the launcher reads next.
    pub async fn asked(&mut self) -> Value {
        within("a proposal", self.stdout.next()).await.expect("a line")
    }

    /// What the launcher says.
    pub async fn answer(&mut self, line: Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// Ends its input and waits for its end.
    pub async fn end(self) -> ExitStatus {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        within("the end of supervise", child.wait()).await.expect("a child of ours")
    }

    /// One JSON-RPC request.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        call(self.address, method, params).await
    }

    /// The text that a tool answers.
    pub async fn tool(&self, name: &str, arguments: Value) -> String {
        let answer = self.call("tools/call", json!({"name": name, "arguments": arguments})).await;
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Calls a tool again and again until its answer has these words: what was written to a pipe is read in its own time.
    pub async fn tool_until(&self, name: &str, arguments: Value, words: &str) {
        let asking = async { while !self.tool(name, arguments.clone()).await.contains(words) {} };
        within(words, asking).await;
    }

    /// A tool's call that goes on beside the test.
    pub fn background_tool(&self, name: &str, arguments: Value) -> JoinHandle<Value> {
        let (address, params) = (self.address, json!({"name": name, "arguments": arguments}));
        tokio::spawn(async move { call(address, "tools/call", params).await })
    }

    /// One request as it stands; these fields come in place of the usual ones.
    pub async fn post(&self, path: &str, content: &str, fields: &[(&str, &str)]) -> (u16, String) {
        post(self.address, path, content, fields).await
    }
}

async fn call(address: SocketAddr, method: &str, params: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let (status, content) = post(address, "/mcp", &request, &[]).await;
    assert_eq!(status, 200, "{content}");
    serde_json::from_str(&content).unwrap_or_else(|_| panic!("no JSON: {content}"))
}

async fn post(address: SocketAddr, path: &str, content: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let own = [
        ("host", "supervise"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("connection", "close"),
    ];
    let own = own.into_iter().filter(|(name, _)| !fields.iter().any(|(given, _)| given == name));
    let head: String = own.chain(fields.iter().copied()).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("POST {path} HTTP/1.1\r\n{head}content-length: {}\r\n\r\n{content}", content.len());
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // A server that has refused already may have closed: its answer is what counts.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = within("an answer", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, content.to_owned())
}

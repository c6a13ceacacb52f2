//! A small HTTP/1.1 client that shows what a real one hides: how a connection ended, and bytes as
//! they came.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(super) fn code(&self) -> String {
        let body = self.json();
        let code = &body["Response"]["resultParam"]["resultCode"];
        code.as_str().expect("an inner result code").to_owned()
    }

    pub(super) fn outer(&self) -> String {
        let body = self.json();
        body["Response"]["resultCode"].as_str().expect("an outer result code").to_owned()
    }
}

pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) token: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, token: String::new() }
    }

    /// Logs in as the default user.
    pub(super) async fn logged_in(address: SocketAddr) -> Self {
        let mut client = Self::new(address);
        let reply = client.login("sandbox-password").await;
        client.token = reply.json()["AccessToken"].as_str().expect("an access token").to_owned();
        client
    }

    pub(super) async fn login(&self, password: &str) -> Reply {
        let body = json!({"username": "sandbox", "password": password});
        self.call("POST", "/api/login", &body).await
    }

    /// All bytes until the connection is closed, or the error that ended it.
    pub(super) async fn raw(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let headers = format!("X-Authorization: Bearer {}\r\n", self.token);
        self.raw_with(&headers, method, path, body).await
    }

    async fn raw_with(
        &self,
        headers: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<Vec<u8>> {
        self.raw_of("application/json", headers, method, path, body).await
    }

    async fn raw_of(
        &self,
        content_type: &str,
        headers: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).await?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\
             Content-Type: {content_type}\r\n\
             {headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: &str) -> io::Result<Reply> {
        let headers = format!("X-Authorization: Bearer {}\r\n", self.token);
        self.send_with(&headers, method, path, body).await
    }

    /// With other headers than SFT's; each ends with a line break.
    pub(super) async fn send_with(
        &self,
        headers: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<Reply> {
        Self::reply(self.raw_with(headers, method, path, body)).await
    }

    /// With another content type and these headers; each ends with a line break.
    pub(super) async fn declared(
        &self,
        content_type: &str,
        headers: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Reply {
        let exchange = self.raw_of(content_type, headers, method, path, body);
        Self::reply(exchange).await.expect("an answer")
    }

    async fn reply(exchange: impl Future<Output = io::Result<Vec<u8>>>) -> io::Result<Reply> {
        let limit = Duration::from_secs(20);
        let answer = tokio::time::timeout(limit, exchange).await??;
        let split = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&answer[..split]).to_lowercase();
        let rest = &answer[split + 4..];
        let body =
            if head.contains("transfer-encoding: chunked") { unchunk(rest) } else { rest.to_vec() };
        let status = head[9..12].parse().expect("a status");
        Ok(Reply { status, head, body })
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &text).await.expect("an answer")
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &Value::Null).await
    }

    /// A service profile operation.
    pub(super) async fn write(&self, operation: &str, profile: Value) -> Reply {
        let body = request(profile);
        self.call("POST", &format!("/api/{operation}"), &body).await
    }

    /// Arms a fault for the next SFT request of the operation.
    pub(super) async fn arm(&self, operation: &str, fault: Value) {
        self.arm_for("sft", operation, fault).await;
    }

    pub(super) async fn arm_for(&self, upstream: &str, operation: &str, fault: Value) {
        let spec = json!({"upstream": upstream, "operation": operation, "fault": fault});
        let reply = self.call("POST", "/sandbox/faults", &spec).await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    }

    pub(super) async fn journal(&self) -> Vec<Value> {
        let page = self.get("/sandbox/journal").await.json();
        page["entries"].as_array().expect("entries").clone()
    }

    /// Waits until the condition holds for the journal.
    pub(super) async fn journal_until(&self, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..200 {
            let entries = self.journal().await;
            if holds(&entries) {
                return entries;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the journal never showed it: {:?}", self.journal().await);
    }
}

pub(super) fn request(profile: Value) -> Value {
    json!({"Request": {"requestParam": {"serviceProfile": profile}}})
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).expect("a chunk size");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
    body
}

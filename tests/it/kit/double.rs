//! A stand-in for the vendor that answers what a test plans, down to the bytes, and keeps what it
//! saw.
//!
//! It shares nothing with the program: sockets and HTTP/1.1 are written out here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The vendor's operations, by the names that the tests use.
pub const LOGIN: &str = "POST /api/login";
pub const REFRESH: &str = "GET /api/RefreshToken";
pub const LIST: &str = "GET /api/GetServiceProfile";
pub const GET: &str = "GET /api/GetServiceProfile?";
pub const CREATE: &str = "POST /api/CreateServiceProfile";
pub const MODIFY: &str = "POST /api/ModifyServiceProfile";
pub const DELETE: &str = "POST /api/DeleteServiceProfile";

/// Every other request.
pub const OTHER: &str = "other";

/// What the double does with a request.
#[derive(Clone)]
pub enum Answer {
    /// An HTTP answer; its length is declared.
    Http { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// These bytes, whatever they are, and then an orderly end.
    Raw(Vec<u8>),
    /// These bytes, and then an open connection until the client leaves.
    Open(Vec<u8>),
    /// An orderly end without a byte.
    Close,
    /// These bytes and then a TCP reset.
    Reset(Vec<u8>),
    /// Nothing until the client leaves.
    Stall,
    /// The answer after the gate has opened, unless the client leaves.
    Gated(Arc<Semaphore>, Box<Answer>),
    /// A body without a declared length: the chunk so many times.
    Stream { chunk: Vec<u8>, times: usize },
    /// Decided by the request.
    By(Arc<dyn Fn(&Seen) -> Answer + Send + Sync>),
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// The stand-in; ends when dropped.
pub struct Double {
    pub base_url: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<HashMap<&'static str, Plan>>,
    seen: Mutex<Vec<Seen>>,
    sent: AtomicUsize,
}

#[derive(Default)]
struct Plan {
    next: VecDeque<Answer>,
    always: Option<Answer>,
}

/// An address that refuses connections as long as this lives: bound, without a listener.
pub struct ClosedPort(TcpSocket);

impl ClosedPort {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Accepts connections from now on.
    pub fn listen(self) -> TcpListener {
        self.0.listen(64).unwrap()
    }
}

/// An answer of JSON.
pub fn json(body: Value) -> Answer {
    http(200, "application/json", body.to_string())
}

/// An answer of any kind.
pub fn http(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    Answer::Http { status, headers, body: body.into() }
}

/// An answer that asks to come back after so many seconds.
pub fn come_back(status: u16, seconds: u64) -> Answer {
    let headers = vec![("retry-after".to_owned(), seconds.to_string())];
    Answer::Http { status, headers, body: b"x".to_vec() }
}

/// An answer that depends on the request.
pub fn by(decide: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Answer {
    Answer::By(Arc::new(decide))
}

/// A new stand-in, which answers 418 to everything that is not planned.
pub async fn double() -> Double {
    double_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
}

/// The same on a port that is there already.
pub fn double_on(listener: TcpListener) -> Double {
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let (shared, stop) = (Arc::new(Shared::default()), CancellationToken::new());
    tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&shared))));
    Double { base_url, shared, _stop: stop.drop_guard() }
}

impl Double {
    /// Plans the next answer to an operation, after those planned before.
    pub fn then(&self, operation: &'static str, answer: Answer) -> &Self {
        self.plan().entry(operation).or_default().next.push_back(answer);
        self
    }

    /// Plans the answer when no other is left.
    pub fn always(&self, operation: &'static str, answer: Answer) -> &Self {
        self.plan().entry(operation).or_default().always = Some(answer);
        self
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The requests of an operation so far.
    pub fn requests(&self, operation: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.operation() == Some(operation)).collect()
    }

    /// How many requests of an operation came.
    pub fn count(&self, operation: &str) -> usize {
        self.requests(operation).len()
    }

    /// How many requests came that could change something.
    pub fn writes(&self) -> usize {
        [CREATE, MODIFY, DELETE].iter().map(|operation| self.count(operation)).sum()
    }

    /// How many bytes of streamed bodies the client's side took.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    fn plan(&self) -> MutexGuard<'_, HashMap<&'static str, Plan>> {
        self.shared.plan.lock().unwrap()
    }
}

impl Seen {
    pub fn operation(&self) -> Option<&'static str> {
        let line = format!("{} {}", self.method, self.path);
        let exact = [LOGIN, REFRESH, LIST, CREATE, MODIFY, DELETE];
        let of_a_get = if line.starts_with(GET) { GET } else { OTHER };
        exact.into_iter().find(|op| *op == line).or(Some(of_a_get))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The id that a get asks for, as the query has it.
    pub fn id(&self) -> &str {
        self.path.split_once("serviceProfileId=").map_or("", |(_, id)| id)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection: requests one after another until an answer ends it or the client leaves.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut unread = Vec::new();
    while let Some(seen) = read(&mut stream, &mut unread).await {
        let planned = seen.operation().and_then(|operation| {
            let mut plan = shared.plan.lock().unwrap();
            let plan = plan.get_mut(operation)?;
            plan.next.pop_front().or_else(|| plan.always.clone())
        });
        shared.seen.lock().unwrap().push(seen.clone());
        let answer = planned.unwrap_or_else(|| http(418, "text/plain", "no answer is planned"));
        if !perform(answer, &seen, &mut stream, &shared).await {
            return;
        }
    }
}

/// Does what the answer says. False when the connection is over.
async fn perform(mut answer: Answer, seen: &Seen, stream: &mut TcpStream, shared: &Shared) -> bool {
    loop {
        answer = match answer {
            Answer::By(decide) => decide(seen),
            Answer::Gated(gate, inner) => {
                let mut byte = [0];
                tokio::select! {
                    opened = gate.acquire() => opened.unwrap().forget(),
                    _ = stream.peek(&mut byte) => return false,
                }
                *inner
            }
            Answer::Http { status, headers, body } => {
                let bytes = message(status, &headers, &body);
                return stream.write_all(&bytes).await.is_ok();
            }
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return false;
            }
            Answer::Open(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.read(&mut [0]).await;
                return false;
            }
            Answer::Close => return false,
            Answer::Reset(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.set_zero_linger();
                return false;
            }
            Answer::Stall => {
                let _ = stream.read(&mut [0]).await;
                return false;
            }
            Answer::Stream { chunk, times } => {
                flood(stream, &chunk, times, shared).await;
                return false;
            }
        }
    }
}

async fn flood(stream: &mut TcpStream, chunk: &[u8], times: usize, shared: &Shared) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    for _ in 0..times {
        if stream.write_all(chunk).await.is_err() {
            return;
        }
        shared.sent.fetch_add(chunk.len(), Ordering::SeqCst);
    }
}

/// An HTTP message with a declared length.
pub fn message(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Reads one request; `None` when the client has left.
async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        match unread.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => break at,
            None if stream.read_buf(unread).await.ok()? == 0 => return None,
            None => {}
        }
    };
    let head = String::from_utf8(unread.drain(..head_end + 4).collect()).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while unread.len() < length {
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
    let body = unread.drain(..length).collect();
    Some(Seen { method, path, headers, body })
}

//! A proxy in front of an upstream that breaks connections where it is told to.
//!
//! It knows HTTP/1.1 as far as needed to tell requests apart, and nothing of what they mean, except
//! which of them write: those that are neither GET nor a login.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long the other side gets to notice that an idle connection was closed.
const NOTICE: Duration = Duration::from_millis(30);

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Break {
    /// All but the last byte of it goes on, then both connections are reset.
    InRequest,
    /// It goes on whole; the answer is thrown away and the connection reset.
    BeforeAnswer,
    /// The head of the answer comes back, then the connection is reset.
    AfterHead,
    /// It goes on after so long, also when its sender has left meanwhile.
    Hold(Duration),
    /// Its sender is reset at once, and it goes on all the same after so long.
    Late(Duration),
}

/// A break that waits for its request.
#[derive(Debug)]
struct Armed {
    what: Break,
    writes_only: bool,
    skip: usize,
}

/// The proxy; ends when dropped.
pub struct Chaos {
    pub base_url: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    upstream: SocketAddr,
    armed: Mutex<VecDeque<Armed>>,
    /// After so many more requests connections are refused.
    until_refusal: Mutex<Option<usize>>,
    /// Whether there should be a listener, and whether there is.
    wanted: watch::Sender<bool>,
    listening: watch::Sender<bool>,
    keeps_none: AtomicBool,
    broken: AtomicUsize,
}

/// A proxy in front of the upstream at this address, which breaks nothing yet.
pub async fn chaos(base_url: &str) -> Chaos {
    let upstream = base_url.strip_prefix("http://").unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let shared = Arc::new(Shared {
        upstream,
        armed: Mutex::default(),
        until_refusal: Mutex::default(),
        wanted: watch::Sender::new(true),
        listening: watch::Sender::new(true),
        keeps_none: AtomicBool::new(false),
        broken: AtomicUsize::new(0),
    });
    let stop = CancellationToken::new();
    let accepting = accept(listener, Arc::clone(&shared));
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    Chaos { base_url, shared, _stop: stop.drop_guard() }
}

impl Chaos {
    /// Breaks the next request, or the next that writes, after so many of them have passed.
    pub fn arm(&self, what: Break, writes_only: bool, skip: usize) {
        self.shared.armed.lock().unwrap().push_back(Armed { what, writes_only, skip });
    }

    /// Lets every connection end with its first answer: none is there to be used again, so that a
    /// refusal meets the very next request.
    pub fn keep_no_connections(&self) {
        self.shared.keeps_none.store(true, SeqCst);
    }

    /// Refuses connections after so many requests; open connections end with their answer.
    pub async fn refuse_after(&self, requests: usize) {
        match requests {
            0 => self.shared.close().await,
            _ => *self.shared.until_refusal.lock().unwrap() = Some(requests),
        }
    }

    /// Takes connections again, and forgets all that is armed.
    pub fn calm(&self) {
        self.shared.armed.lock().unwrap().clear();
        *self.shared.until_refusal.lock().unwrap() = None;
        self.shared.wanted.send_replace(true);
    }

    /// How many requests were broken, and how often connections were refused.
    pub fn broken(&self) -> usize {
        self.shared.broken.load(SeqCst)
    }
}

impl Shared {
    async fn close(&self) {
        self.broken.fetch_add(1, SeqCst);
        self.wanted.send_replace(false);
        turns(&mut self.listening.subscribe(), false).await;
        sleep(NOTICE).await;
    }

    /// What is to be done to a request.
    fn take(&self, head: &str) -> Option<Break> {
        let line = head.lines().next().unwrap_or_default().to_lowercase();
        let is_login = line.contains("login") || line.contains("authenticate");
        let writes = !line.starts_with("get ") && !is_login;
        let mut armed = self.armed.lock().unwrap();
        for at in 0..armed.len() {
            if armed[at].writes_only && !writes {
                continue;
            }
            if armed[at].skip > 0 {
                armed[at].skip -= 1;
                continue;
            }
            self.broken.fetch_add(1, SeqCst);
            return armed.remove(at).map(|armed| armed.what);
        }
        None
    }

    /// Whether this request is the last before connections are refused.
    fn is_last(&self) -> bool {
        let mut left = self.until_refusal.lock().unwrap();
        *left = left.map(|left| left - 1);
        left.take_if(|left| *left == 0).is_some()
    }
}

async fn turns(switch: &mut watch::Receiver<bool>, to: bool) {
    let _ = switch.wait_for(|now| *now == to).await;
}

async fn accept(mut listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    let mut wanted = shared.wanted.subscribe();
    let address = listener.local_addr().unwrap();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn(serve(accepted.unwrap().0, Arc::clone(&shared)));
            }
            () = turns(&mut wanted, false) => {
                drop(listener);
                // Keeps the port, which refuses as long as there is no listener.
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(address).unwrap();
                shared.listening.send_replace(false);
                turns(&mut wanted, true).await;
                listener = socket.listen(256).unwrap();
                shared.listening.send_replace(true);
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection: requests one after another until something ends it.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let Ok(mut upstream) = TcpStream::connect(shared.upstream).await else { return };
    let mut wanted = shared.wanted.subscribe();
    let mut inbox = Vec::new();
    loop {
        let request = tokio::select! {
            request = read(&mut client, &mut inbox) => request,
            () = turns(&mut wanted, false) => None,
        };
        let Some(request) = request else { return };
        let what = shared.take(&String::from_utf8_lossy(&request));
        let is_last = shared.is_last();
        let sent = match what {
            Some(Break::InRequest) => &request[..request.len() - 1],
            _ => &request[..],
        };
        match what {
            Some(Break::Hold(time)) => sleep(time).await,
            Some(Break::Late(time)) => return late(client, upstream, sent, time).await,
            _ => {}
        }
        if upstream.write_all(sent).await.is_err() {
            return;
        }
        if what == Some(Break::InRequest) {
            return reset(&client, &upstream);
        }
        let Some(head) = head(&mut upstream).await else { return };
        match what {
            Some(Break::BeforeAnswer) => return reset(&client, &upstream),
            Some(Break::AfterHead) => {
                only_head(&mut client, &head).await;
                return reset(&client, &upstream);
            }
            _ => {}
        }
        if is_last {
            shared.close().await;
        }
        let head = match is_last || shared.keeps_none.load(SeqCst) {
            true => closing(&head),
            false => head,
        };
        if client.write_all(&head).await.is_err()
            || !relay(&mut client, &mut upstream, &mut inbox).await
        {
            return;
        }
    }
}

async fn late(client: TcpStream, mut upstream: TcpStream, request: &[u8], time: Duration) {
    let _ = client.set_zero_linger();
    drop(client);
    sleep(time).await;
    if upstream.write_all(request).await.is_ok() {
        // It may be thrown away unread when the connection ends before its answer.
        let _ = head(&mut upstream).await;
    }
}

async fn only_head(client: &mut TcpStream, head: &[u8]) {
    let end = end_of_head(head).unwrap_or(head.len());
    let _ = client.write_all(&head[..end]).await;
    // So that the head is read before the reset throws away what is not.
    sleep(NOTICE).await;
}

fn reset(client: &TcpStream, upstream: &TcpStream) {
    let _ = client.set_zero_linger();
    let _ = upstream.set_zero_linger();
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}

/// The head of an answer, and what came with it.
pub(super) async fn head(upstream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while end_of_head(&bytes).is_none() {
        if upstream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(bytes)
}

/// The answer, with the announcement that the connection ends with it.
fn closing(answer: &[u8]) -> Vec<u8> {
    let line = answer.windows(2).position(|window| window == b"\r\n").unwrap();
    [&answer[..line], b"\r\nconnection: close", &answer[line..]].concat()
}

/// Passes on the rest of an answer until the next request begins. False when the connection is
/// over.
pub(super) async fn relay(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    inbox: &mut Vec<u8>,
) -> bool {
    let mut bytes = vec![0; 16 << 10];
    loop {
        tokio::select! {
            read = upstream.read(&mut bytes) => match read {
                Ok(0) => return false,
                Err(_) => {
                    reset(client, upstream);
                    return false;
                }
                Ok(n) if client.write_all(&bytes[..n]).await.is_err() => return false,
                Ok(_) => {}
            },
            read = client.read_buf(inbox) => return read.is_ok_and(|n| n > 0),
        }
    }
}

/// Reads one request; `None` when the client has left.
pub(super) async fn read(client: &mut TcpStream, inbox: &mut Vec<u8>) -> Option<Vec<u8>> {
    let more = async |inbox: &mut Vec<u8>, client: &mut TcpStream| {
        let read = client.read_buf(inbox).await.ok()?;
        (read > 0).then_some(())
    };
    let head = loop {
        match end_of_head(inbox) {
            Some(end) => break end,
            None => more(inbox, client).await?,
        }
    };
    let text = String::from_utf8_lossy(&inbox[..head]).to_lowercase();
    assert!(!text.contains("transfer-encoding"), "requests have a declared length");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let end = head + length.map_or(0, |length| length.trim().parse::<usize>().unwrap());
    while inbox.len() < end {
        more(inbox, client).await?;
    }
    Some(inbox.drain(..end).collect())
}

#[tokio::test]
async fn breaks_requests_where_it_is_told_to() {
    let upstream = super::double::double().await;
    upstream.always(super::double::MODIFY, super::double::http(200, "text/plain", "whole"));
    let chaos = chaos(&upstream.base_url).await;
    let http = reqwest::Client::new();
    let post = async || {
        let url = format!("{}/api/ModifyServiceProfile", chaos.base_url);
        let answer = http.post(url).body("a body").send().await.map_err(|e| e.is_connect())?;
        answer.text().await.map_err(|error| error.is_connect())
    };
    let lost = Err(false);
    for (what, answer, seen) in [
        (None, Ok("whole".to_owned()), 1),
        (Some(Break::InRequest), lost.clone(), 0),
        (Some(Break::BeforeAnswer), lost.clone(), 1),
        (Some(Break::AfterHead), lost.clone(), 1),
        (Some(Break::Hold(Duration::from_millis(50))), Ok("whole".to_owned()), 1),
    ] {
        let before = upstream.writes();
        if let Some(what) = what {
            chaos.arm(what, true, 0);
        }
        let got = timeout(Duration::from_secs(10), post()).await.unwrap();
        assert_eq!((got, upstream.writes() - before), (answer, seen), "{what:?}");
    }
    let late = Break::Late(Duration::from_millis(50));
    chaos.arm(late, true, 0);
    let before = upstream.writes();
    assert_eq!((post().await, upstream.writes() - before), (lost, 0), "{late:?}");
    super::until("it goes on", async || upstream.writes() - before == 1).await;
    chaos.refuse_after(1).await;
    assert_eq!(post().await, Ok("whole".to_owned()));
    assert_eq!(post().await, Err(true));
    chaos.calm();
    super::until("connections are taken again", async || post().await.is_ok()).await;
    assert_eq!(chaos.broken(), 6);
}

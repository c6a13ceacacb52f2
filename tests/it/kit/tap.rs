//! A proxy in front of an upstream, which notes each request that passes, and changes nothing.
//!
//! It knows HTTP/1.1 as far as needed to tell requests apart.

#![allow(dead_code, reason = "only some tests look at all of it")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    chaos::{head, read, relay},
    history::{Clock, Moment},
};

/// A request as it passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// The method and the path.
    pub line: String,
    /// Of what is not a read.
    pub body: String,
    /// When it was passed on, and when it was answered or given up by its sender. Without an end it
    /// is under way.
    pub from: Moment,
    pub to: Option<Moment>,
}

/// The proxy; ends when dropped.
pub struct Tap {
    pub base_url: String,
    noted: Arc<Noted>,
    _stop: DropGuard,
}

struct Noted {
    upstream: SocketAddr,
    clock: Arc<Clock>,
    passed: Mutex<Vec<Passed>>,
}

/// A request under way.
struct Passing<'n> {
    noted: &'n Noted,
    at: usize,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.noted.passed.lock().unwrap()[self.at].to = Some(self.noted.clock.now());
    }
}

/// A tap at the upstream at this address.
pub async fn tap(base_url: &str, clock: &Arc<Clock>) -> Tap {
    let upstream = base_url.strip_prefix("http://").unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let noted = Arc::new(Noted { upstream, clock: Arc::clone(clock), passed: Mutex::default() });
    let stop = CancellationToken::new();
    let accepting = accept(listener, Arc::clone(&noted));
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    Tap { base_url, noted, _stop: stop.drop_guard() }
}

impl Tap {
    /// What has passed so far, in the order in which it was passed on.
    pub fn passed(&self) -> Vec<Passed> {
        self.noted.passed.lock().unwrap().clone()
    }
}

impl Noted {
    fn begin(&self, request: &[u8]) -> Passing<'_> {
        let text = String::from_utf8_lossy(request);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1");
        let mut passed = self.passed.lock().unwrap();
        let (line, body) = (line.to_owned(), body.to_owned());
        passed.push(Passed { line, body, from: self.clock.now(), to: None });
        Passing { noted: self, at: passed.len() - 1 }
    }
}

async fn accept(listener: TcpListener, noted: Arc<Noted>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let noted = Arc::clone(&noted);
        connections.spawn(async move { serve(client, &noted).await });
        while connections.try_join_next().is_some() {}
    }
}

/// One connection: requests one after another until either side ends it.
async fn serve(mut client: TcpStream, noted: &Noted) -> Option<()> {
    let mut upstream = TcpStream::connect(noted.upstream).await.ok()?;
    for stream in [&client, &upstream] {
        stream.set_nodelay(true).ok()?;
        // However it ends, the other side notices at once.
        stream.set_zero_linger().ok()?;
    }
    let mut inbox = Vec::new();
    loop {
        let request = tokio::select! {
            request = read(&mut client, &mut inbox) => request?,
            _ = upstream.readable() => return None,
        };
        let passing = noted.begin(&request);
        upstream.write_all(&request).await.ok()?;
        let head = tokio::select! {
            head = head(&mut upstream) => head?,
            // It has left, or sends the next one before it has an answer.
            _ = client.readable() => return None,
        };
        drop(passing);
        client.write_all(&head).await.ok()?;
        if !relay(&mut client, &mut upstream, &mut inbox).await {
            return None;
        }
    }
}

#[tokio::test]
async fn a_tap_notes_what_passes_and_who_gave_up() {
    let upstream = super::double::double().await;
    upstream.always(super::double::MODIFY, super::double::http(200, "text/plain", "whole"));
    let tap = tap(&upstream.base_url, &Arc::default()).await;
    let http = reqwest::Client::new();
    let request = || http.post(format!("{}/api/ModifyServiceProfile", tap.base_url)).body("a body");
    assert_eq!(request().send().await.unwrap().text().await.unwrap(), "whole");
    assert_eq!(request().send().await.unwrap().text().await.unwrap(), "whole");
    let mut ticks = Vec::new();
    for passed in tap.passed() {
        assert_eq!((&*passed.line, &*passed.body), ("POST /api/ModifyServiceProfile", "a body"));
        ticks.push((passed.from.tick, passed.to.unwrap().tick));
    }
    assert_eq!(ticks, [(1, 2), (3, 4)]);
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("http://{}", hangs.local_addr().unwrap());
    let tap = super::tap::tap(&hangs, &Arc::default()).await;
    let asked = http.post(format!("{}/", tap.base_url)).body("a body").send();
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(100), asked).await;
    assert!(given_up.is_err() || given_up.is_ok_and(|answer| answer.is_err()));
    super::until("it is noted that it was given up", async || {
        tap.passed().iter().all(|passed| passed.to.is_some())
    })
    .await;
}

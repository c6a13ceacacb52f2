//! An HTTP proxy, by hand: it opens tunnels (CONNECT), passes plain requests on, and refuses as it
//! is told to. Whatever host it is asked for, it connects to that port of this machine.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// What it is asked for.
    Serve,
    /// That for those who show this name and password, with a colon between.
    ServeOnly(&'static str),
    /// It answers with this status.
    Refuse(u16),
    /// It closes the connection.
    Leave,
}

/// The proxy; ends when dropped.
pub struct Proxy {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _stop: DropGuard,
}

pub async fn proxy(does: Does) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, stop) = (Arc::<Mutex<Vec<String>>>::default(), CancellationToken::new());
    let seen = Arc::clone(&heads);
    let accepting = async move {
        // Dropped with this task, and the connections with it.
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            connections.spawn(async move { drop(serve(client, does, &seen).await) });
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    Proxy { address, heads, _stop: stop.drop_guard() }
}

impl Proxy {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests that came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(
    mut client: TcpStream,
    does: Does,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut bytes: Vec<u8> = Vec::new();
    let end = loop {
        match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => break at + 4,
            // Not HTTP.
            None if bytes.first().is_some_and(|byte| !byte.is_ascii_alphabetic()) => {
                return refuse(&mut client, 400).await;
            }
            None if client.read_buf(&mut bytes).await? == 0 => return Ok(()),
            None => {}
        }
    };
    let body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    heads.lock().unwrap().push(head.clone());
    let status = match does {
        Does::Leave => return Ok(()),
        Does::Refuse(status) => Some(status),
        Does::ServeOnly(who) if !shows(&head, who) => Some(407),
        Does::Serve | Does::ServeOnly(_) => None,
    };
    if let Some(status) = status {
        return refuse(&mut client, status).await;
    }
    let target = head.split(' ').nth(1).unwrap();
    let authority = target.strip_prefix("http://").unwrap_or(target);
    let authority = authority.split('/').next().unwrap();
    let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).await?;
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        let own = head.replacen(&format!("http://{authority}"), "", 1);
        upstream.write_all(own.as_bytes()).await?;
        upstream.write_all(&body).await?;
    }
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}

async fn refuse(client: &mut TcpStream, status: u16) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    // Until the client has left, so that it reads the answer.
    client.read_to_end(&mut Vec::new()).await.map(drop)
}

/// Whether the head shows this name and password.
fn shows(head: &str, who: &str) -> bool {
    let wanted = format!("basic {}", STANDARD.encode(who)).to_lowercase();
    head.to_lowercase().lines().any(|line| line == format!("proxy-authorization: {wanted}"))
}

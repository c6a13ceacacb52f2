//! An issuer that publishes its keys at a URL, over real TLS, or fails to.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    tls::{Authority, Speaks, acceptor},
    tokens::{AUDIENCE, ISSUER},
};

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answers {
    Keys(Value),
    /// This status, with a body that would do.
    Status(u16, Value),
    /// Elsewhere, with this status.
    Redirect(u16, String),
    Text(String),
    /// Nothing, for as long as anyone waits.
    Never,
}

/// An issuer with its authority; ends when dropped.
pub struct Published {
    pub address: SocketAddr,
    pub authority: Arc<Authority>,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    answers: Mutex<Answers>,
    asked: AtomicUsize,
}

pub async fn published(answers: Answers) -> Published {
    published_under(Arc::new(Authority::new()), answers).await
}

/// The same, with a certificate of this authority.
pub async fn published_under(authority: Arc<Authority>, answers: Answers) -> Published {
    let tls = acceptor(&authority.issue("127.0.0.1"), &Speaks::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(Shared { answers: Mutex::new(answers), asked: AtomicUsize::new(0) });
    let stop = CancellationToken::new();
    let accepting = accept(listener, tls, Arc::clone(&shared));
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    Published { address, authority, shared, _stop: stop.drop_guard() }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|_: Request<Incoming>| answer(Arc::clone(&shared)));
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    shared.asked.fetch_add(1, SeqCst);
    let answers = shared.answers.lock().unwrap().clone();
    let body = |text: String| Full::new(Bytes::from(text));
    let answer = Response::builder();
    Ok(match answers {
        Answers::Keys(keys) => answer.body(body(keys.to_string())),
        Answers::Status(status, keys) => answer.status(status).body(body(keys.to_string())),
        Answers::Redirect(status, to) => {
            answer.status(status).header("location", to).body(body(String::new()))
        }
        Answers::Text(text) => answer.body(body(text)),
        Answers::Never => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            answer.body(body(String::new()))
        }
    }
    .unwrap())
}

impl Published {
    pub fn url(&self) -> String {
        format!("https://{}/keys", self.address)
    }

    /// From now on, it answers so.
    pub fn answers(&self, answers: Answers) {
        *self.shared.answers.lock().unwrap() = answers;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }

    /// `[auth]` with this issuer, with these lines in its section, and with these sections.
    pub fn config(&self, lines: &str, sections: &str) -> String {
        format!(
            "[auth]\nmode = \"required\"\n[auth.jwt.idp]\nissuer = \"{ISSUER}\"\n\
             audience = \"{AUDIENCE}\"\njwks_url = \"{}\"\nca_file = \"{}\"\n{lines}\n{sections}",
            self.url(),
            self.authority.file().display(),
        )
    }
}

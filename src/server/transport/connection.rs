//! The life of one connection: HTTP/1 or HTTP/2, its age, and its end, graceful or sudden.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::Service};
use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{closing::Closing, connections::Connections, executor, socket::Socket};

/// Why a response or a connection broke.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// HTTP/2 pings, which tell a dead peer from a silent one: how often, and how long to wait.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);
/// What hyper needs at least to read HTTP/1.
const MIN_BUFFER: usize = 8 * 1024;
/// How long a client may take to send its first bytes and, in HTTP/1, all headers.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Largest headers of one request, in bytes.
    pub headers: usize,
    /// Most calls at once.
    pub streams: u32,
    pub age: Option<Age>,
}

/// How old a connection may become. A connection that never ends would keep its client on one
/// replica when new ones are added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age {
    /// When the client is asked to reconnect.
    pub max: Duration,
    /// How long the reads that are running then may still take. Writes may take until their
    /// deadlines.
    pub grace: Duration,
}

/// How long calls that were ended may take to respond. They have nothing left to wait for but the
/// client.
pub(super) const UNWIND: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. Its errors concern only its client.
pub(crate) async fn serve<S, A>(
    stream: TcpStream,
    service: S,
    limits: ConnectionLimits,
    closing: Arc<Closing>,
    connections: Connections,
) where
    S: Service<Request<Incoming>, Response = Response<A>, Error = Infallible>,
    S::Future: Send + 'static,
    A: Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
{
    let kill = connections.kill.clone();
    let life = async {
        if speaks(&stream, &connections.goaway).await {
            drive(stream, service, limits, &closing, connections).await;
        }
    };
    kill.run_until_cancelled(life).await;
}

/// Whether the client sends anything. HTTP's own timers start only after the first bytes, so
/// without this a silent connection would keep its permit indefinitely.
async fn speaks(stream: &TcpStream, goaway: &CancellationToken) -> bool {
    let mut first = [0];
    let peeked = goaway.run_until_cancelled(timeout(FIRST_WORDS, stream.peek(&mut first))).await;
    matches!(peeked, Some(Ok(Ok(1..))))
}

async fn drive<S, A>(
    stream: TcpStream,
    service: S,
    limits: ConnectionLimits,
    closing: &Closing,
    connections: Connections,
) where
    S: Service<Request<Incoming>, Response = Response<A>, Error = Infallible>,
    S::Future: Send + 'static,
    A: Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
{
    // Calls are small and answered at once: waiting to fill a segment only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let socket = Socket::new(stream, limits.headers);
    let age = limits.age;
    let serve = |streams| builder(streams, limits).serve_connection(socket, service).into_owned();
    // `executor` runs the streams. To let hyper spawn a task for each instead, write
    // `let connection = serve(TokioExecutor::new());`.
    let connection = executor::run(&connections, serve);
    let mut connection = pin!(connection);

    let old = age.map(|age| jittered(age.max, rand::random()));
    let grace = tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = connections.goaway.cancelled() => None,
        () = elapsed(old) => age.map(|age| age.grace),
    };
    connection.as_mut().graceful_shutdown();
    closing.leave.cancel();
    tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = elapsed(grace) => closing.over.cancel(),
    }
    let unread = async {
        sleep(UNWIND).await;
        closing.writes.close();
        closing.writes.wait().await;
        sleep(UNWIND).await;
    };
    tokio::select! {
        ended = connection => log(ended),
        () = unread => tracing::debug!("closed with responses that the client does not read"),
    }
}

fn builder<E>(executor: E, limits: ConnectionLimits) -> Builder<E> {
    let ConnectionLimits { headers, streams, .. } = limits;
    let mut builder = Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_WORDS)
        .max_buf_size(headers.max(MIN_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX));
    builder
}

/// Never returns if there is no limit.
async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Spreads ages by ±10 %, so that clients that connected together do not reconnect together. `roll`
/// is in `0.0..1.0`.
fn jittered(age: Duration, roll: f64) -> Duration {
    // Longer ages make no difference, and multiplying the longest would overflow.
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    age.min(YEAR).mul_f64(0.9 + 0.2 * roll)
}

fn log(ended: Result<(), Broken>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_spread_by_a_tenth_either_way() {
        let age = Duration::from_secs(100);
        assert_eq!(jittered(age, 0.0), Duration::from_secs(90));
        assert_eq!(jittered(age, 0.5), age);
        assert!(jittered(age, 0.999) < Duration::from_secs(110));
        let _ = jittered(Duration::MAX, 1.0);
    }
}

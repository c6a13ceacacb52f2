//! The life of one connection: HTTP/1 or HTTP/2, its times, and its end, graceful or sudden.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, poll};
use http::{Request, Response};
use http_body::Body;
use hyper::{rt::Timer, service::Service};
use hyper_util::server::conn::auto::Builder;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    closing::Closing,
    connections::Connections,
    counting::Counting,
    executor,
    handshake::Beginning,
    places::Place,
    pulse::Pulse,
    rest::RequestBody,
    socket::Socket,
    stream::{Client, Plain, Stream},
};
use crate::server::metrics::{Closed, PortMetrics};

/// Why a response or a connection broke.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// HTTP/2 pings, which tell a dead peer from a silent one: how often, and how long to wait.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);
/// What hyper needs at least to read HTTP/1.
const MIN_BUFFER: usize = 8 * 1024;
/// How often in its idle time a connection is looked at.
const LOOKS: u32 = 4;

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Largest headers of one request, in bytes.
    pub headers: usize,
    /// Most calls at once.
    pub streams: u32,
    /// How long the first request may take from the connection's beginning to its last header;
    /// over HTTP/1, also how long each later one may take to come.
    pub first_request: Duration,
    /// How long the connection may be without a call.
    pub idle: Option<Duration>,
    /// How long the client may take nothing of what is written.
    pub unread: Duration,
    /// How long a response over HTTP/1 may take, where calls have no deadline.
    pub answer: Option<Duration>,
    /// When the client is asked to connect again. A connection that never ends would keep its
    /// client on one replica when new ones are added.
    pub age: Option<Duration>,
    /// How long the client may go on once it is asked to leave, for whatever reason: then reads
    /// end, and no write begins. Writes under way may take until their deadlines.
    pub grace: Duration,
}

/// A connection that has been accepted.
pub(super) struct Accepted {
    pub stream: Plain,
    pub client: Client,
    pub opened: Instant,
    pub place: Arc<Place>,
    pub metrics: PortMetrics,
}

/// A connection that is ready for HTTP.
struct Begun {
    stream: Stream,
    client: Client,
    opened: Instant,
    place: Arc<Place>,
}

/// How long calls that were ended may take to respond. They have nothing left to wait for but the
/// client.
pub(super) const UNWIND: Duration = Duration::from_secs(1);
/// How long a client that was asked to leave may keep its connection without a call.
const LEAVE: Duration = Duration::from_secs(2);

/// Serves a connection until it ends. Its errors concern only its client. `service` makes the
/// service for the client, once that has proven who it is.
pub(super) async fn serve<S, A>(
    accepted: Accepted,
    beginning: &Beginning,
    service: impl Fn(&Client) -> S,
    limits: ConnectionLimits,
    connections: Connections,
) where
    S: Service<Request<RequestBody>, Response = Response<A>, Error = Infallible>,
    S::Future: Send + 'static,
    A: Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
{
    let (kill, metrics) = (connections.kill.clone(), accepted.metrics.clone());
    let life = async {
        let until = accepted.opened + limits.first_request;
        let closed = match begin(accepted, beginning, until, &connections.goaway).await {
            Ok(begun) => {
                let service = service(&begun.client);
                drive(begun, service, limits, connections).await
            }
            Err(closed) => closed,
        };
        if let Some(reason) = closed {
            tracing::debug!(reason = reason.name(), "closed a connection");
            metrics.closed(reason);
        }
    };
    kill.run_until_cancelled(life).await;
}

/// Waits until the client sends anything, because until then there is no need for any memory, and
/// for its TLS handshake, if the port has one. An error says why it does not have to be waited for
/// any longer.
async fn begin(
    Accepted { stream, mut client, opened, place, .. }: Accepted,
    beginning: &Beginning,
    until: Instant,
    goaway: &CancellationToken,
) -> Result<Begun, Option<Closed>> {
    let begun = async {
        let first = match timeout_at(until, stream.first_byte()).await {
            Ok(Ok(Some(first))) => first,
            Ok(_) => return Err(None),
            Err(_) => return Err(Some(Closed::NoRequest)),
        };
        beginning.begin(stream, first, until, &mut client).await.map_err(Some)
    };
    let stream = tokio::select! {
        begun = begun => begun?,
        () = place.taken() => return Err(Some(Closed::Room)),
        () = goaway.cancelled() => return Err(None),
    };
    Ok(Begun { stream, client, opened, place })
}

/// Gives why the gateway closed the connection, if the client did not leave.
async fn drive<S, A>(
    Begun { stream, client, opened, place }: Begun,
    service: S,
    limits: ConnectionLimits,
    connections: Connections,
) -> Option<Closed>
where
    S: Service<Request<RequestBody>, Response = Response<A>, Error = Infallible>,
    S::Future: Send + 'static,
    A: Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
{
    let Client { caller, closing, .. } = client;
    let ConnectionLimits { headers, unread, answer, grace, .. } = limits;
    let pulse = &closing.pulse;
    let socket = Socket::new(stream, headers, unread, Arc::clone(&closing));
    let service =
        Counting { service, closing: Arc::clone(&closing), place: Arc::clone(&place), answer };
    let serve = |streams, clock| {
        builder(streams, clock, limits).serve_connection(socket, service).into_owned()
    };
    // `executor` runs the streams. To let hyper spawn a task for each instead, write
    // `let connection = serve(TokioExecutor::new(), TokioTimer::new());`.
    let connection = executor::run(&connections, &caller, serve);
    let mut connection = pin!(connection);

    // Goes on to the end: a client that was asked to leave can still lose what it has proved.
    let mut lapse = pin!(closing.lapses().fuse());
    let closed = tokio::select! {
        ended = connection.as_mut() => return log(ended, pulse),
        () = connections.goaway.cancelled() => None,
        () = place.taken() => Some(Closed::Room),
        () = closing.unwelcome.cancelled() => Some(Closed::Unproved),
        lapse = lapse.as_mut() => Some(lapse.into()),
        closed = over(opened, limits, pulse) => Some(closed),
    };
    connection.as_mut().graceful_shutdown();
    if closed == Some(Closed::Room) {
        // Another connection waits for this one's descriptor. The client is still told, and what
        // it has sent meanwhile is served.
        let over = poll!(connection.as_mut()).is_ready() || pulse.now().is_idle();
        if over || place.is_lost_when_busy() {
            return closed;
        }
    }
    closing.leave.cancel();
    // The process has its own time to end.
    let grace = closed.map(|_| grace);
    let noted = async {
        lapse.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        ended = connection => log(ended, pulse).or(closed),
        () = quiet(pulse) => closed,
        () = out_of_time(grace, &closing) => match pulse.is_blocked() {
            true => Some(Closed::Unread),
            false => closed,
        },
        never = noted => match never {},
    }
}

/// Returns when the calls of a connection that ends have had their time: reads the grace, and
/// writes until their deadlines.
async fn out_of_time(grace: Option<Duration>, closing: &Closing) {
    elapsed(grace).await;
    closing.over.cancel();
    closing.writes.close();
    sleep(UNWIND).await;
    closing.writes.wait().await;
    sleep(UNWIND).await;
}

/// Returns when the connection has had its time, and why.
async fn over(opened: Instant, limits: ConnectionLimits, pulse: &Pulse) -> Closed {
    let ConnectionLimits { first_request, idle: longest, age, .. } = limits;
    tokio::select! {
        () = no_request(opened + first_request, pulse) => Closed::NoRequest,
        () = idle(longest, pulse) => Closed::Idle,
        () = elapsed(age.map(|age| jittered(age, rand::random()))) => Closed::Age,
    }
}

fn builder<E>(
    executor: E,
    clock: impl Timer + Clone + Send + Sync + 'static,
    limits: ConnectionLimits,
) -> Builder<E> {
    let ConnectionLimits { headers, streams, first_request, .. } = limits;
    let mut builder = Builder::new(executor);
    builder
        .http1()
        .timer(clock.clone())
        .header_read_timeout(first_request)
        .max_buf_size(headers.max(MIN_BUFFER));
    builder
        .http2()
        .timer(clock)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .max_concurrent_streams(streams)
        // A proxy that loses a client takes all of its calls back at once.
        .max_pending_accept_reset_streams(Some(streams as usize))
        .max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX));
    builder
}

/// Returns at this time if no request has arrived by then. HTTP's own timers do not: that of HTTP/1
/// starts when it is clear that it is HTTP/1, and HTTP/2 has none.
async fn no_request(end: Instant, pulse: &Pulse) {
    sleep_until(end).await;
    if !pulse.now().is_silent() {
        std::future::pending().await
    }
}

/// Returns when there has been no call for so long, or up to a quarter longer. The time is not
/// measured from each call's end, which would cost each call a look at the clock.
async fn idle(limit: Option<Duration>, pulse: &Pulse) {
    let Some(limit) = limit else { return std::future::pending().await };
    unchanged(pulse, limit / LOOKS, LOOKS, |_| true).await;
}

/// Returns when a client that was asked to leave is only in the way: it has no call, and nothing
/// waits to be sent to it. It may be one that does not answer HTTP/2's pings.
async fn quiet(pulse: &Pulse) {
    unchanged(pulse, LEAVE, 1, |pulse| !pulse.is_blocked()).await;
}

/// Returns when there has been no call for so many times `each`, and `more` holds.
async fn unchanged(pulse: &Pulse, each: Duration, times: u32, more: impl Fn(&Pulse) -> bool) {
    let mut seen = pulse.now();
    let mut left = times;
    while left > 0 {
        sleep(each).await;
        let now = pulse.now();
        left = if now == seen && now.is_idle() && more(pulse) { left - 1 } else { times };
        seen = now;
    }
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

fn log(ended: Result<(), Broken>, pulse: &Pulse) -> Option<Closed> {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
    pulse.is_given_up().then_some(Closed::Unread)
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

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_its_last_call_on() {
        let pulse = Pulse::default();
        let limit = Duration::from_secs(40);
        let mut idle = pin!(idle(Some(limit), &pulse));
        pulse.begin();
        tokio::time::timeout(limit * 10, idle.as_mut()).await.unwrap_err();
        pulse.end();
        tokio::time::timeout(limit, idle.as_mut()).await.unwrap_err();
        tokio::time::timeout(limit / 2, idle.as_mut()).await.unwrap();
    }
}

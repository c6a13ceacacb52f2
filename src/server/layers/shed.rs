//! Limits how many calls run at once, in all and of each caller. Queues nothing: a caller that is
//! rejected at once can try another replica.
//!
//! A call takes its place when its message has arrived whole. Until then it holds one of the places
//! for calls that are arriving, for a limited time and while no newcomer needs it: headers cost a
//! caller nothing, and must not keep others from being served.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::Body as HttpBody;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::body::Body;

use super::{
    arrivals::{Arrival, Arrivals},
    body::{Answer, Polled, Step, Stepped, bare, wrap},
    cut,
    methods::Methods,
    passing::{BoxError, Passing},
    refusals::Refusals,
    reply,
    whole::Whole,
};
use crate::{
    caller::{Callers, Full, Held, Pool, Resource},
    error::Reason,
    resources::Share,
    server::{metrics::ServerMetrics, settings::ServerSettings},
};

/// How much longer a message may take once its connection is closing: it may be on its way.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The places of the process for calls.
#[derive(Clone)]
pub(crate) struct Places {
    running: Arc<Pool>,
    arriving: Arrivals,
    /// For streams of health and reflection.
    probes: Arc<Pool>,
    /// How long a message may take.
    patience: Duration,
}

impl Places {
    pub(crate) fn new(callers: &Callers, settings: &ServerSettings) -> Self {
        let bound = settings.max_concurrent_calls;
        Self {
            running: callers.pool(Resource::Calls, bound),
            arriving: Arrivals::new(callers.pool(Resource::Arriving, bound)),
            probes: callers.pool(Resource::Probes, settings.max_probe_streams),
            patience: settings.message_timeout,
        }
    }
}

/// Rejects calls when the limit is reached.
///
/// Health and reflection need no place of a call: they cost nothing, and rejecting a probe would
/// get a busy process killed, which makes the others busier. Their streams, which last, have places
/// of their own.
pub(crate) struct Shed<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    inner: S,
    places: Places,
    /// For request messages.
    memory: Share,
    refusals: Refusals,
    metrics: ServerMetrics,
}

impl<S> Shed<S> {
    pub(crate) fn new(
        inner: S,
        methods: &Methods,
        places: Places,
        memory: Share,
        metrics: ServerMetrics,
    ) -> Self {
        let refusals = Refusals::new(methods);
        Self { shared: Arc::new(Shared { inner, places, memory, refusals, metrics }) }
    }
}

impl<S, B, A> Service<Passing<Whole<B>>> for Shed<S>
where
    S: Service<Passing<Whole<B>>, Response = Response<A>, Error = Infallible>,
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    A: Answer,
{
    type Response = Response<Stepped<Permit, A>>;
    type Error = Infallible;
    type Future = Admission<S, B, S::Future>;

    fn call(&self, passing: Passing<Whole<B>>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Admission::Arriving { shared, passing: Some(passing), waiting: None }
    }
}

pin_project! {
    /// A call on its way to the services.
    #[project = Stage]
    pub(crate) enum Admission<S, B, F> {
        /// Its message has not arrived.
        Arriving {
            shared: Arc<Shared<S>>,
            // Taken once it has.
            passing: Option<Passing<Whole<B>>>,
            waiting: Option<Waiting>,
        },
        /// It has its place, or does not need one.
        Running { #[pin] inner: F, permit: Option<Permit> },
    }
}

impl<S, B, A> Future for Admission<S, B, S::Future>
where
    S: Service<Passing<Whole<B>>, Response = Response<A>, Error = Infallible>,
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Permit, A>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                Stage::Arriving { shared, passing, waiting } => {
                    // A future that is complete is not polled again.
                    let Some(call) = passing else { return Poll::Pending };
                    let (body, record) = (call.request.body_mut(), &call.record);
                    if body.poll_arrival(&shared.memory, record, cx).is_pending() {
                        return shared.poll_end(call, waiting, cx).map(Ok);
                    }
                    let permit = match shared.permit(call) {
                        Ok(permit) => permit,
                        Err(full) => return Poll::Ready(Ok(shared.refuse(call, full))),
                    };
                    let Some(call) = passing.take() else { return Poll::Pending };
                    let inner = shared.inner.call(call);
                    self.set(Self::Running { inner, permit });
                }
                Stage::Running { inner, permit } => {
                    let Ok(response) = ready!(inner.poll(cx));
                    return Poll::Ready(Ok(match permit.take() {
                        Some(permit) => wrap(response, permit),
                        None => bare(response),
                    }));
                }
            }
        }
    }
}

impl<S> Shared<S> {
    /// The place of a call whose message is here. A probe needs none unless it is a stream.
    fn permit<B>(&self, call: &Passing<B>) -> Result<Option<Permit>, Full> {
        let pool = match &*call.method {
            method if !method.probe => &self.places.running,
            method if method.streaming => &self.places.probes,
            _ => return Ok(None),
        };
        let held = pool.acquire(call.record.caller(), 1);
        held.map(|held| Some(Permit { _held: held }))
    }

    /// Ends a call whose message does not arrive: its caller holds too much already, another call
    /// took its place, or the time is over.
    fn poll_end<B, A: From<Body>>(
        &self,
        call: &Passing<B>,
        waiting: &mut Option<Waiting>,
        cx: &mut Context<'_>,
    ) -> Poll<Response<A>> {
        let waiting = match waiting {
            Some(waiting) => waiting,
            None => match self.wait(call) {
                Ok(new) => waiting.insert(new),
                Err(full) => return Poll::Ready(self.refuse(call, full)),
            },
        };
        if let Poll::Ready(full) = waiting.arrival.poll_lost(cx) {
            return Poll::Ready(self.refuse(call, full));
        }
        if let Some(leaving) = &mut waiting.leaving
            && leaving.as_mut().poll(cx).is_ready()
        {
            waiting.leaving = None;
            let last = Instant::now() + LAST_CALL;
            if last < waiting.timer.deadline() {
                waiting.timer.as_mut().reset(last);
                waiting.cut = true;
            }
        }
        ready!(waiting.timer.as_mut().poll(cx));
        let error = match waiting.cut {
            true => cut::unfinished(&call.method),
            false => reply::error(&call.method, Reason::DeadlineExceeded, self.too_slow()),
        };
        Poll::Ready(reply::refuse(&error))
    }

    /// What a call holds that waits for its message. One that would be refused with it is refused
    /// without.
    fn wait<B>(&self, call: &Passing<B>) -> Result<Waiting, Full> {
        let (places, caller) = (&self.places, call.record.caller());
        if !call.method.probe {
            places.running.has_room_for(caller)?;
        }
        Ok(Waiting {
            arrival: places.arriving.enter(caller)?,
            timer: Box::pin(sleep_until(call.started + places.patience)),
            leaving: Some(Box::pin(call.closing.leave.clone().cancelled_owned())),
            cut: false,
        })
    }

    fn too_slow(&self) -> String {
        let patience = humantime::format_duration(self.places.patience);
        format!("the request message did not arrive within {patience}, the limit of this server")
    }

    fn refuse<B, A: From<Body>>(&self, call: &Passing<B>, full: Full) -> Response<A> {
        self.metrics.call_shed();
        self.refusals.response(&call.method, full)
    }
}

/// The wait for a message.
pub(crate) struct Waiting {
    arrival: Arrival,
    timer: Pin<Box<Sleep>>,
    /// Until the connection is asked to end.
    leaving: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// It ends with its connection.
    cut: bool,
}

/// Counts toward the limit until the response was sent or dropped.
pub(crate) struct Permit {
    _held: Held,
}

impl Step for Permit {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        body.poll_frame(cx)
    }
}

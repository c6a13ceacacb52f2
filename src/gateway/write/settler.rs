//! The gateway looks after writes in doubt by itself: those that the processes before it have left,
//! and its own.
//!
//! It looks as a repeat does ([`Settler::find_out`]), one write of a backend at a time, after all
//! calls, with pauses that grow ([`Plan`]). A write that took effect is done from then on, and one
//! that has no effect and can have none any more is forgotten. Nothing that a caller asked for is
//! sent again. Only a creation that was cut off half way, about which no caller was told, and whose
//! profile no call has changed since, is completed (`completion`).

mod plan;

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use prost::Message;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::plan::{Looked, Plan, Plans, Tried};
use crate::{
    cache::Control,
    call::{Call, Writes},
    error::{Effect, Error, Reason, Result},
    gateway::{
        backend::Backend,
        backends::Backends,
        idempotency::{self, Attempt, Doubt, End, SettledAs, Settling, Unsettled},
        write::{
            candidates::{Creating, Order},
            change::EarlierWrite,
            completion::{Completer, Completion},
            demand::Demand,
            doubts::Doubts,
            intent::{IntentKind, WriteIntent},
            prepare::ExistingProfile,
            reconcile::Until,
            request::Written,
            session,
        },
    },
    model::name::ProfileName,
};

/// The longest that a look may take, beside what it takes to undo.
const LOOK: Duration = Duration::from_secs(30);
/// How many doubts are read at a time.
const PAGE: usize = 256;
/// How often a creation is completed that fails at that.
const COMPLETIONS: u32 = 3;

/// Looks after the writes in doubt.
pub(crate) struct Settler {
    pub(crate) backends: Arc<Backends>,
    pub(crate) doubts: Doubts,
    pub(crate) order: Arc<Order>,
    /// A drain waits for the looks.
    pub(crate) writes: Writes,
}

impl Settler {
    /// Looks after them until the process drains.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let mut plans = Plans::default();
        let mut looks = JoinSet::new();
        let mut next_scan = Instant::now();
        loop {
            if next_scan <= Instant::now() {
                next_scan = Instant::now() + this.scan(&mut plans).await;
            }
            for (number, backend) in plans.due(Instant::now()) {
                let own = Arc::clone(&this);
                let may_complete = plans.completions(number) < COMPLETIONS;
                looks.spawn(this.writes.spawn(async move {
                    let look = AssertUnwindSafe(own.look(number, &backend, may_complete));
                    let looked = look.catch_unwind().await;
                    (number, backend, looked)
                }));
            }
            let wake = plans.next_due().map_or(next_scan, |due| due.min(next_scan));
            tokio::select! {
                () = this.writes.draining().cancelled() => break,
                () = sleep_until(wake) => {}
                Some(looked) = looks.join_next() => {
                    let Ok(Ok((number, backend, looked))) = looked else { continue };
                    let looked = looked.unwrap_or_else(|_| {
                        let message = "internal error while looking after a write";
                        let error = Error::new(Reason::GatewayInternal, message);
                        Looked::Unsettled(error, Tried::Looking)
                    });
                    plans.looked(number, &backend, &looked);
                }
            }
        }
    }

    /// Plans looks after new doubts, and forgets those that have ended. Returns when to do that
    /// again.
    async fn scan(&self, plans: &mut Plans) -> Duration {
        let known_elsewhere = self.doubts.store.hear().await;
        for doubt in self.doubts.store.dropped().await.unwrap_or_default() {
            self.doubts.ended(&doubt, SettledAs::Dropped.name(), None);
        }
        let (mut found, mut after) = (BTreeMap::new(), 0);
        let all = loop {
            let page = match self.doubts.list(after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(target: "gateway", %error, "cannot read the writes in doubt");
                    break false;
                }
            };
            let Some(last) = page.last() else { break true };
            after = last.number;
            found.extend(page.iter().map(|doubt| (doubt.number, Plan::of(doubt))));
            tokio::task::yield_now().await;
        };
        let pause = plans.update(found, all);
        plans.look_now(&known_elsewhere);
        pause
    }

    /// Looks for the outcome of one write.
    async fn look(&self, number: u64, backend: &str, may_complete: bool) -> Looked {
        let gives_way = CancellationToken::new();
        let call = Call {
            deadline: Instant::now() + LOOK,
            cache_control: Control::default(),
            record: Arc::default(),
            leave: Some(gives_way.clone()),
        };
        let until = session::end_of_cleanup(&call);
        let settler = idempotency::Settler { until, gives_way: gives_way.clone() };
        let store = &self.doubts.store;
        let (doubt, attempt) = match store.settle(number, settler).await {
            Ok(Settling::Begun(doubt, attempt)) => (*doubt, attempt),
            Ok(Settling::Ended(doubt, outcome)) => {
                self.doubts.ended(&doubt, outcome.name(), Some("another replica"));
                return Looked::Settled;
            }
            Ok(Settling::NotNow) => return Looked::GaveWay,
            Err(error) => return Looked::Unsettled(error, Tried::Looking),
        };
        let attempt = Attempt::new(Arc::clone(store), doubt.key, attempt);
        let Some(backend) = self.backends.get(backend) else {
            let message = "its backend is not configured any more";
            let error = Error::new(Reason::BackendNotFound, message);
            attempt.leave(Unsettled::of(&error, &doubt)).await;
            return Looked::Unsettled(error, Tried::Looking);
        };
        call.record.set_backend(backend.name().id());
        let demand = Demand::new(gives_way, self.writes.draining().clone());
        let allowed = match doubt.may_complete && may_complete {
            true => Completion::Due(Completer {
                doubts: &self.doubts,
                doubt: &doubt,
                attempt: &attempt,
                demand: &demand,
            }),
            false => Completion::NotDue,
        };
        let work = demand.bound(self.find_out((&backend, &call), &doubt, allowed, &attempt));
        let found = timeout_at(until, work).await.unwrap_or_else(|_| Err(late()));
        let tried = match demand.has_gone_on() {
            true => Tried::Completing,
            false => Tried::Looking,
        };
        self.end(&backend, doubt, attempt, found, tried).await
    }

    /// The looks of a repeat.
    async fn find_out(
        &self,
        (backend, call): (&Backend, &Call),
        doubt: &Doubt,
        allowed: Completion<'_>,
        attempt: &Attempt,
    ) -> Result<Option<Written>> {
        let attempt = Some(attempt);
        let left = Effect::SETTLES_WITHIN.saturating_sub(doubt.ended);
        let until = Until::Patiently(Instant::now() + left);
        let Order { locks, claims } = &*self.order;
        let name = || ProfileName::parse("name", &doubt.resource);
        match WriteIntent::read(&doubt.intent)? {
            IntentKind::Create(creation) => {
                let creating = Creating { backend, call, locks, claims };
                let found = creating.resolve(&creation, until, allowed, attempt).await?;
                Ok(found.map(Some))
            }
            IntentKind::Change(change) => {
                let name = &name()?;
                let profile = ExistingProfile { backend, call, name };
                let earlier = EarlierWrite { profile, locks, attempt };
                let found = earlier.resolve_change(&change, until).await;
                match found {
                    // It changed nothing and never will.
                    Err(error) if error.reason() == Reason::ProfileNotFound => Ok(None),
                    found => found.map(|found| found.map(Some)),
                }
            }
            IntentKind::Delete(()) => {
                let name = &name()?;
                let profile = ExistingProfile { backend, call, name };
                let earlier = EarlierWrite { profile, locks, attempt };
                let found = earlier.resolve_delete(until).await?;
                Ok(found.map(|()| None))
            }
        }
    }

    async fn end(
        &self,
        backend: &Backend,
        doubt: Doubt,
        attempt: Attempt,
        found: Result<Option<Written>>,
        tried: Tried,
    ) -> Looked {
        match found {
            Ok(Some(written)) => {
                backend.announce_change();
                let result = written.as_ref().map(Message::encode_to_vec).unwrap_or_default();
                if !attempt.finish(End::Done(result.into())).await {
                    // An operator has closed it meanwhile.
                    return Looked::Settled;
                }
                let name = written.map(|profile| profile.name).filter(|name| !name.is_empty());
                let resource = name.unwrap_or_else(|| doubt.resource.clone());
                let outcome = match tried {
                    Tried::Looking => SettledAs::TookEffect.name(),
                    Tried::Completing => "completed",
                };
                self.doubts.ended(&Doubt { resource, ..doubt }, outcome, None);
                Looked::Settled
            }
            Ok(None) => {
                if attempt.finish(End::NoEffect).await {
                    self.doubts.ended(&doubt, SettledAs::NoEffect.name(), None);
                }
                Looked::Settled
            }
            // Dropping the attempt leaves all as it was.
            Err(error) if error.reason() == Reason::CallerCancelled => Looked::GaveWay,
            Err(error) => {
                attempt.leave(Unsettled::of(&error, &doubt)).await;
                if tried == Tried::Completing {
                    backend.announce_change();
                    self.doubts.audit(&doubt, error.reason().name(), None);
                }
                Looked::Unsettled(error, tried)
            }
        }
    }
}

fn late() -> Error {
    Error::new(Reason::DeadlineExceeded, "looking for the outcome of the write took too long")
}

//! Writes in doubt over replicas: each has its own, and what one finds out ends the doubt of all.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::{
    Attempted, Closed, Closing, Doubt, Effective, End, IdempotencyStore as _, RequestBegun,
    RequestRef, Settler, Settling, Shared, fingerprint, name, undescribed,
};
use crate::{
    error::{Error, Reason, Result},
    gateway::{
        agreement::SharedWrite,
        idempotency::{SettledAs, adopted::Attended},
    },
    shared::{
        membership::NoAnswer,
        protocol::{self, Outcome},
    },
    store::SOON,
};

/// The pause before an operator's answer is tried again, while the gateway itself is looking.
const PAUSE: Duration = Duration::from_millis(50);

/// What all replicas know of a doubt.
enum Begun {
    /// It is to be found out.
    Here(RequestRef, SharedWrite, Option<(Bytes, Duration)>),
    /// It has had no effect, and will not have any.
    Denied,
    /// It is known.
    Done(Effective, protocol::Closed),
    /// Another attempt is at it.
    Elsewhere,
    /// There is no store.
    Alone,
}

impl Shared {
    /// Begins to find out a doubt of this process, if no other replica is at the same, or has found
    /// it out.
    pub(super) async fn settle_there(&self, number: u64, settler: Settler) -> Result<Settling> {
        let until = settler.until;
        let Settling::Begun(mut doubt, attempt) = self.ledger.settle(number, settler).await? else {
            return Ok(Settling::NotNow);
        };
        let key = doubt.key;
        let begun = match self.begin_at(&doubt, until).await {
            Ok(begun) => begun,
            Err(error) => {
                self.ledger.abandon(key, attempt);
                return Err(error);
            }
        };
        let end = match begun {
            Begun::Here(request, holds, earlier) => {
                let forgotten = match earlier {
                    Some((intent, ended)) => {
                        (doubt.intent, doubt.ended) = (intent, ended);
                        None
                    }
                    None => Some(self.described((key, attempt), &doubt.intent)),
                };
                self.put((key, attempt), Attempted::named(until, request, holds, forgotten));
                return Ok(Settling::Begun(doubt, attempt));
            }
            Begun::Alone => {
                self.put((key, attempt), Attempted::alone(until));
                return Ok(Settling::Begun(doubt, attempt));
            }
            Begun::Elsewhere => {
                self.ledger.abandon(key, attempt);
                return Ok(Settling::NotNow);
            }
            Begun::Denied => (End::NoEffect, SettledAs::NoEffect),
            Begun::Done(Effective::Done(result), closed) => {
                self.agreement.acknowledged(&closed, true).await;
                (End::Done(result), SettledAs::TookEffect)
            }
            Begun::Done(Effective::Closed, _) => {
                self.ledger.abandon(key, attempt);
                return self.was_closed(&doubt).await;
            }
        };
        self.others.is_known(key);
        // An operator may have ended it meanwhile.
        Ok(match self.ledger.finish(key, attempt, end.0).await? {
            true => Settling::Ended(doubt, end.1),
            false => Settling::NotNow,
        })
    }

    /// An operator has said at another replica that it took effect.
    async fn was_closed(&self, doubt: &Doubt) -> Result<Settling> {
        Ok(match self.ledger.close(doubt, Closing::TookEffect(None)).await? {
            Closed::Closed(doubt) => Settling::Ended(doubt, SettledAs::ClosedAsDone),
            Closed::Missing | Closed::Attended => Settling::NotNow,
        })
    }

    /// Ends a doubt of this process for all replicas. If the gateway itself is looking for the
    /// outcome here, it gives way; another replica that does is waited for a while.
    pub(super) async fn close_there(&self, doubt: &Doubt, closing: Closing) -> Result<Closed> {
        let end = Instant::now() + SOON;
        loop {
            let closed = match self.ledger.attended(doubt) {
                Attended::Itself(attempt) => self.close_over(doubt, attempt, &closing).await?,
                Attended::Call => return Ok(Closed::Attended),
                Attended::No => self.close_alone(doubt, &closing).await?,
            };
            match closed {
                Some(closed) => return Ok(closed),
                None if Instant::now() + PAUSE < end => sleep(PAUSE).await,
                None => return Ok(Closed::Attended),
            }
        }
    }

    /// Ends it with the attempt with which the gateway itself is looking. `None` if that begins or
    /// ends at this moment.
    async fn close_over(
        &self,
        doubt: &Doubt,
        attempt: u64,
        closing: &Closing,
    ) -> Result<Option<Closed>> {
        let id = (doubt.key, attempt);
        let (closed, kept, attempted) = {
            let mut attempts = self.attempts.lock();
            if !attempts.contains_key(&id) {
                return Ok(None);
            }
            let (closed, kept) = self.ledger.close_by_hand(doubt, closing.clone())?;
            let is_closed = matches!(closed, Closed::Closed(_));
            (closed, kept, is_closed.then(|| attempts.remove(&id)).flatten())
        };
        if let Some(kept) = kept {
            // If it fails now, or is late, the store makes up for it.
            let _ = kept.soon().await;
        }
        if let Some(attempted) = attempted {
            let outcome = outcome(closing);
            self.tell(doubt, async move { attempted.close_as(outcome, false).await }).await;
        }
        Ok(Some(closed))
    }

    /// Ends one that no one in this process looks after. `None` if another replica does.
    async fn close_alone(&self, doubt: &Doubt, closing: &Closing) -> Result<Option<Closed>> {
        if !self.ledger.knows(doubt.key) {
            return Ok(Some(Closed::Missing));
        }
        let until = Instant::now() + SOON;
        let (request, holds) = match self.begin_at(doubt, until).await.map_err(not_closed)? {
            Begun::Here(request, holds, _) => (request, holds),
            Begun::Alone => return self.ledger.close(doubt, closing.clone()).await.map(Some),
            Begun::Elsewhere => return Ok(None),
            Begun::Done(..) | Begun::Denied => return Ok(Some(Closed::Missing)),
        };
        let closed = self.ledger.close(doubt, closing.clone()).await;
        let outcome = match &closed {
            Ok(Closed::Closed(_)) => outcome(closing),
            Ok(Closed::Missing | Closed::Attended) | Err(_) => Outcome::Nothing,
        };
        let closing = async move {
            let until = holds.forgotten_at();
            holds.close(outcome, Some(&request), None, until).await
        };
        self.tell(doubt, closing).await;
        closed.map(Some)
    }

    /// Tells all replicas how a doubt has ended. If that is late, it goes on apart from its call.
    async fn tell(
        &self,
        doubt: &Doubt,
        closing: impl Future<Output = Result<Option<protocol::Closed>, NoAnswer>> + Send + 'static,
    ) {
        self.others.is_known(doubt.key);
        let agreement = Arc::clone(&self.agreement);
        let (tell, told) = oneshot::channel();
        self.agreement.spawn(async move {
            if let Ok(Some(closed)) = closing.await {
                agreement.acknowledged(&closed, true).await;
            }
            let _ = tell.send(());
        });
        let _ = timeout(SOON, told).await;
    }

    async fn begin_at(&self, doubt: &Doubt, until: Instant) -> Result<Begun> {
        let key = doubt.key;
        let Some(own) = self.ledger.fingerprint_of(key) else { return Ok(Begun::Elsewhere) };
        let request = RequestRef::new(name(&key), fingerprint(&own), key.is_named);
        let doubted = self.others.sender(key);
        Ok(match self.agreement.begin(request.clone(), until, None, doubted).await? {
            RequestBegun::Granted { holds, is_denied: true, .. } => {
                // If this is not heard, it ends by itself.
                let end = Instant::now() + SOON;
                let _ = holds.close(Outcome::Nothing, Some(&request), None, end).await;
                Begun::Denied
            }
            RequestBegun::Granted { holds, earlier, .. } => {
                let earlier = earlier.map(|(intent, ended)| (undescribed(&intent).0, ended));
                Begun::Here(request, holds, earlier)
            }
            RequestBegun::Alone => Begun::Alone,
            RequestBegun::Running(_) | RequestBegun::Reused => Begun::Elsewhere,
            RequestBegun::Done(result, closed) => Begun::Done(Effective::read(&result), closed),
        })
    }
}

/// How it has ended for all replicas.
fn outcome(closing: &Closing) -> Outcome {
    match closing {
        Closing::NoEffect => Outcome::NoEffect,
        Closing::TookEffect(Some(result)) => {
            Outcome::Done(Effective::Done(result.clone()).written())
        }
        Closing::TookEffect(None) => Outcome::Done(Effective::Closed.written()),
    }
}

fn not_closed(error: Error) -> Error {
    let message = "this could not be recorded in the store that replicas share; the write was not \
                   closed";
    Error::new(Reason::StoreUnavailable, message)
        .with_internal(error.internal().unwrap_or_default())
}

//! Writes in doubt over replicas: each has its own, and what one finds out ends the doubt of all.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    Attempted, Closed, Closing, Doubt, Effective, End, IdempotencyStore as _, RequestBegun,
    RequestRef, Settler, Shared, fingerprint, name,
};
use crate::{
    error::{Error, Reason, Result},
    gateway::{agreement::SharedWrite, idempotency::RequestIdentity},
    shared::protocol::{self, Outcome},
    store::SOON,
};

/// What all replicas know of a doubt.
enum Begun {
    /// It is to be found out.
    Here(RequestRef, SharedWrite, Option<(Bytes, Duration)>),
    /// It is known.
    Done(Effective, protocol::Closed),
    /// Another replica is at it.
    Elsewhere,
    /// There is no store, or no repeat can name it.
    Alone,
}

impl Shared {
    /// Begins to find out a doubt of this process, if no other replica is at the same.
    pub(super) async fn settle_there(
        &self,
        number: u64,
        settler: Settler,
    ) -> Result<Option<(Doubt, u64)>> {
        let until = settler.until;
        let Some((mut doubt, attempt)) = self.ledger.settle(number, settler).await? else {
            return Ok(None);
        };
        let key = doubt.key;
        let begun = match self.begin_at(&doubt, until).await {
            Ok(begun) => begun,
            Err(error) => {
                self.ledger.abandon(key, attempt);
                return Err(error);
            }
        };
        match begun {
            Begun::Here(request, holds, earlier) => {
                let forgotten = match earlier {
                    Some((intent, ended)) => {
                        (doubt.intent, doubt.ended) = (intent, ended);
                        None
                    }
                    None => Some(doubt.intent.as_ref().into()),
                };
                self.put((key, attempt), Attempted::named(until, request, holds, forgotten));
            }
            Begun::Alone => self.put((key, attempt), Attempted::unnamed(until)),
            Begun::Done(Effective::Done(result), closed) => {
                self.agreement.acknowledged(&closed, true).await;
                self.ledger.finish(key, attempt, End::Done(result)).await?;
                return Ok(None);
            }
            Begun::Done(Effective::Closed, _) => {
                self.ledger.abandon(key, attempt);
                self.ledger.close(&doubt, Closing::TookEffect(None)).await?;
                return Ok(None);
            }
            Begun::Elsewhere => {
                self.ledger.abandon(key, attempt);
                return Ok(None);
            }
        }
        Ok(Some((doubt, attempt)))
    }

    /// Ends a doubt of this process for all replicas.
    pub(super) async fn close_there(&self, doubt: &Doubt, closing: Closing) -> Result<Closed> {
        let until = Instant::now() + SOON;
        let (request, holds) = match self.begin_at(doubt, until).await.map_err(not_closed)? {
            Begun::Here(request, holds, _) => (request, holds),
            Begun::Alone => return self.ledger.close(doubt, closing).await,
            Begun::Elsewhere => return Ok(Closed::Attended),
            Begun::Done(..) => return Ok(Closed::Missing),
        };
        let outcome = match &closing {
            Closing::NoEffect => Outcome::NoEffect,
            Closing::TookEffect(Some(result)) => {
                Outcome::Done(Effective::Done(result.clone()).written())
            }
            Closing::TookEffect(None) => Outcome::Done(Effective::Closed.written()),
        };
        let closed = self.ledger.close(doubt, closing).await;
        let outcome = match &closed {
            Ok(Closed::Closed(_)) => outcome,
            Ok(Closed::Missing | Closed::Attended) | Err(_) => Outcome::Nothing,
        };
        let agreement = Arc::clone(&self.agreement);
        let (tell, told) = oneshot::channel();
        self.agreement.spawn(async move {
            let until = holds.forgotten_at();
            if let Ok(Some(closed)) = holds.close(outcome, Some(&request), None, until).await {
                agreement.acknowledged(&closed, true).await;
            }
            let _ = tell.send(());
        });
        // If it is late, it goes on apart from this call.
        let _ = timeout(SOON, told).await;
        closed
    }

    async fn begin_at(&self, doubt: &Doubt, until: Instant) -> Result<Begun> {
        let Some(own) = self.ledger.fingerprint_of(doubt.key).filter(|_| doubt.key.is_named) else {
            return Ok(Begun::Alone);
        };
        let identity = RequestIdentity { key: doubt.key, fingerprint: own, method: "" };
        let request = RequestRef::new(name(&identity), fingerprint(&own));
        Ok(match self.agreement.begin(request.clone(), until, None).await? {
            RequestBegun::Granted { holds, earlier } => {
                let earlier =
                    earlier.map(|(intent, ended)| (Bytes::copy_from_slice(&intent), ended));
                Begun::Here(request, holds, earlier)
            }
            RequestBegun::Alone => Begun::Alone,
            RequestBegun::Running(_) | RequestBegun::Reused => Begun::Elsewhere,
            RequestBegun::Done(result, closed) => Begun::Done(Effective::read(&result), closed),
        })
    }
}

fn not_closed(error: Error) -> Error {
    let message = "this could not be recorded in the store that replicas share; the write was not \
                   closed";
    Error::new(Reason::StoreUnavailable, message)
        .with_internal(error.internal().unwrap_or_default())
}

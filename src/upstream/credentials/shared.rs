//! What credentials have to do with other replicas: a pause is that of all of them.

use std::time::Duration;

use tokio::time::Instant;

use super::{Credentials, State, refused::Refused, sharing::Alone};
use crate::{
    error::{Error, Reason, Result, Retry, whole_seconds},
    shared::commands::KnownLogins,
};

/// Credentials that have not worked yet, and of which no refusal is known, are tried without asking
/// others after so long at most, differently long on each.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// The same for those that were refused, however many others there are.
const LONGEST_DELAY_REFUSED: Duration = Duration::from_secs(24 * 60 * 60);

impl Credentials {
    /// Whether others are asked before each login from now on.
    pub(in super::super) fn ask_others(&self, asks: bool) {
        self.lock().sharing.asks = asks;
    }

    /// What is known here of the pause.
    pub(in super::super) fn known_pause(&self, now: Instant) -> KnownLogins {
        self.lock().refused.as_ref().map(|refused| refused.share(now)).unwrap_or_default()
    }

    /// Whether there is a pause, or the next one who asks would try after one.
    pub(in super::super) fn was_refused(&self) -> bool {
        self.lock().refused.is_some()
    }

    /// The error of one who waits for the try of another one after the pause.
    pub(in super::super) fn refusal_until(&self, until: Instant, now: Instant) -> Error {
        let refused = self.lock().refused.clone();
        match refused {
            Some(refused) => Refused { until, ..refused }.again(now),
            None => {
                let what = "another replica of the gateway is trying the credentials; nothing was \
                            sent";
                let left = Retry::After(Some(whole_seconds(until - now)));
                Error::new(Reason::UpstreamUnavailable, what).with_retry(left)
            }
        }
    }

    /// Takes over what all replicas know of the pause, with secrets that are still the same.
    /// Gives its error if there is one.
    pub(in super::super) fn take_over(
        &self,
        known: &KnownLogins,
        round: u64,
        now: Instant,
    ) -> Option<Error> {
        let shared = Refused::shared(known, now)?;
        let error = (now < shared.until).then(|| shared.again(now));
        let mut state = self.lock();
        if state.round == round {
            state.refused = Some(shared);
            state.sharing.was_refused();
            state.sharing.has_heard |= error.is_some();
        }
        error
    }

    /// Ends the pause if all replicas knew of it, and do not any more. Whether it did.
    pub(in super::super) fn end_with(&self, known: &KnownLogins) -> bool {
        let is_over = |refused: &mut Refused| {
            known.pause.is_none() && refused.shared_in.as_ref() == Some(&known.began)
        };
        self.lock().refused.take_if(is_over).is_some()
    }

    /// Whether a login may be made without asking others, who cannot be asked, and are so many with
    /// this one. All of them try credentials that were refused about as often as one would: each
    /// after a part of all their pauses.
    pub(in super::super) fn may_be_used_alone(&self, now: Instant, replicas: u32) -> Result<Alone> {
        let mut state = self.lock();
        if let Some(error) = state.pause(now) {
            return Err(error);
        }
        if state.sharing.has_worked {
            return Ok(Alone::Known);
        }
        let longest = match &state.refused {
            Some(refused) => refused.pause.saturating_mul(replicas).min(LONGEST_DELAY_REFUSED),
            None => LONGEST_DELAY,
        };
        let delay = longest.mul_f64(rand::random());
        let at = *state.sharing.alone_at.get_or_insert(now + delay);
        if at <= now {
            state.sharing.alone_at = None;
            return Ok(Alone::Try);
        }
        let left = whole_seconds(at - now);
        let message = format!(
            "the gateway cannot ask the store that replicas share whether these credentials were \
             refused, and they have not worked since it was started, or were refused since; \
             nothing was sent; it tries them once in {}",
            humantime::format_duration(left)
        );
        Err(Error::new(Reason::StoreUnavailable, message).with_retry(Retry::After(Some(left))))
    }
}

impl State {
    /// Whether all replicas know of the pause that there is, or that a renewal has found.
    pub(super) fn shares_pause(&self, now: Instant) -> bool {
        let shared = |refused: &Refused| refused.shared_in.is_some() && now < refused.until;
        self.sharing.has_heard || self.refused.as_ref().is_some_and(shared)
    }
}

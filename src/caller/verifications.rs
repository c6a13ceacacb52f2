//! How many tokens may be verified that turn out not to be valid.
//!
//! To verify a signature takes time of a processor, and to send a wrong one takes none. Only those
//! that turn out to be wrong count: whose tokens are valid has no bound here, until its own is used
//! up by its own wrong ones. When the bound of all is used up, only those wait who have sent a
//! wrong one within the last minute.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::{
    bucket::Bucket,
    failures::{Failures, Rate},
    identity::Caller,
    metrics::{Bound, CallerMetrics},
    resource::Resource,
};
use crate::error::{Error, Reason, Retry, whole_seconds};

/// Of one caller, which nothing proves yet: of its addresses.
const OF_CALLER: Rate = Rate { burst: 200, per_second: 20 };
/// Of a proxy, which sends the tokens of many.
const OF_PROXY: Rate = Rate { burst: 1_000, per_second: 100 };
/// Of all together: a small part of one processor.
const OF_ALL: Rate = Rate { burst: 2_000, per_second: 1_000 };

/// To whom a token is counted if it is not valid.
#[derive(Debug, Clone, Copy)]
pub enum Sender<'c> {
    /// To this caller, whose token it is.
    One(&'c Caller),
    /// To this proxy.
    Proxy(&'c Caller),
}

impl Sender<'_> {
    const fn rate(self) -> Rate {
        match self {
            Self::One(_) => OF_CALLER,
            Self::Proxy(_) => OF_PROXY,
        }
    }

    fn failures(&self) -> &Failures {
        let (Self::One(caller) | Self::Proxy(caller)) = self;
        caller.failed_verifications()
    }
}

/// The verifications of all callers that have failed.
#[derive(Debug)]
pub struct Verifications {
    failed: Bucket,
    refused: [Counter; 2],
}

impl Verifications {
    pub(super) fn new(metrics: &CallerMetrics) -> Self {
        let refused = [Bound::Caller, Bound::All]
            .map(|bound| metrics.refusals(Resource::Verifications, bound));
        Self { failed: Bucket::default(), refused }
    }

    /// Lets a token be verified.
    ///
    /// # Errors
    ///
    /// When too many of this sender were not valid, or too many of all, one of this sender among
    /// them; that is counted.
    pub fn admit(&self, sender: Option<Sender<'_>>) -> Result<(), Error> {
        let [of_caller, of_all] = &self.refused;
        if let Some(sender) = sender
            && let Err(wait) = sender.rate().wait(&sender.failures().used)
        {
            of_caller.inc();
            let Rate { burst, per_second } = sender.rate();
            let message = format!(
                "too many credentials from here were not valid: {burst} at once, and then \
                 {per_second} a second, are verified, which no setting changes"
            );
            return Err(refused(Reason::CallerQuotaExceeded, message, wait));
        }
        if sender.is_some_and(|sender| sender.failures().is_clean()) {
            return Ok(());
        }
        OF_ALL.wait(&self.failed).map_err(|wait| {
            of_all.inc();
            let message = "too many credentials were not valid, also from here, so none from here \
                           are verified for now";
            refused(Reason::Overloaded, message.to_owned(), wait)
        })
    }

    /// Counts a token that was wrong.
    pub fn failed(&self, sender: Option<Sender<'_>>) {
        self.expired(sender);
        sender.iter().for_each(|sender| sender.failures().blemish());
        OF_ALL.charge(&self.failed);
    }

    /// Counts a token that was right once. It says nothing bad of its sender, and there are only
    /// as many as issuers have signed.
    pub fn expired(&self, sender: Option<Sender<'_>>) {
        sender.iter().for_each(|sender| sender.rate().charge(&sender.failures().used));
    }
}

fn refused(reason: Reason, message: String, wait: Duration) -> Error {
    Error::new(reason, message).with_retry(Retry::After(Some(whole_seconds(wait))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;
    use crate::caller::Callers;

    /// How many of so many are verified, all of which are wrong.
    fn verified(all: &Verifications, sender: Option<Sender<'_>>, tries: u64) -> u64 {
        let verify = |_: &u64| {
            let admitted = all.admit(sender).is_ok();
            admitted.then(|| all.failed(sender)).is_some()
        };
        u64::try_from((0..tries).filter(verify).count()).unwrap()
    }

    fn callers() -> (Callers, [Arc<Caller>; 2]) {
        let callers = Callers::default();
        let at = |address: &str| callers.at(address.parse().unwrap());
        let both = [at("192.0.2.1"), at("192.0.2.2")];
        (callers, both)
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_with_wrong_ones_is_bounded_and_others_are_not() {
        // The clock of the process may have begun on another one.
        advance(Duration::from_secs(3600)).await;
        let (callers, [one, other]) = callers();
        let all = callers.verifications();
        assert_eq!(verified(all, Some(Sender::One(&one)), 1000), OF_CALLER.burst);
        let refused = all.admit(Some(Sender::One(&one))).unwrap_err();
        assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
        assert_eq!(refused.retry(), Retry::After(Some(Duration::from_secs(1))));
        assert!(all.admit(Some(Sender::One(&other))).is_ok());
        advance(Duration::from_secs(1)).await;
        assert_eq!(verified(all, Some(Sender::One(&one)), 1000), OF_CALLER.per_second);
        // Who has used something is not forgotten, and so does not get all of it again.
        drop(one);
        callers.forget_idle();
        let again = callers.at("192.0.2.1".parse().unwrap());
        assert!(all.admit(Some(Sender::One(&again))).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_valid_have_no_bound_and_those_of_all_have_one() {
        advance(Duration::from_secs(3600)).await;
        let (callers, [one, _]) = callers();
        let all = callers.verifications();
        assert!((0..10_000).all(|_| all.admit(Some(Sender::One(&one))).is_ok()));
        assert_eq!(verified(all, None, 10_000), OF_ALL.burst);
        assert_eq!(all.admit(None).unwrap_err().reason(), Reason::Overloaded);
        advance(Duration::from_secs(1)).await;
        assert_eq!(verified(all, None, 10_000), OF_ALL.per_second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_has_a_larger_bound_that_is_not_that_of_all() {
        advance(Duration::from_secs(3600)).await;
        let (callers, [proxy, other]) = callers();
        let all = callers.verifications();
        assert_eq!(verified(all, Some(Sender::Proxy(&proxy)), 10_000), OF_PROXY.burst);
        let refused = all.admit(Some(Sender::Proxy(&proxy))).unwrap_err();
        assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
        assert_eq!(verified(all, Some(Sender::One(&other)), 1000), OF_CALLER.burst);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_only_those_pay_whose_own_were_wrong_within_a_minute() {
        advance(Duration::from_secs(3600)).await;
        let (callers, [slow, clean]) = callers();
        let all = callers.verifications();
        all.failed(Some(Sender::One(&slow)));
        let late = callers.at("192.0.2.3".parse().unwrap());
        all.expired(Some(Sender::One(&late)));
        for _ in 0..59 {
            advance(Duration::from_secs(1)).await;
            verified(all, None, 10_000);
            let refused = all.admit(Some(Sender::One(&slow))).unwrap_err();
            assert_eq!(refused.reason(), Reason::Overloaded);
            for passes in [&clean, &late] {
                assert!(all.admit(Some(Sender::One(passes))).is_ok());
            }
        }
        advance(Duration::from_secs(1)).await;
        verified(all, None, 10_000);
        assert_eq!(verified(all, Some(Sender::One(&slow)), 1000), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_expired_counts_to_its_sender_alone() {
        advance(Duration::from_secs(3600)).await;
        let (callers, [one, _]) = callers();
        let all = callers.verifications();
        (0..OF_CALLER.burst).for_each(|_| all.expired(Some(Sender::One(&one))));
        let refused = all.admit(Some(Sender::One(&one))).unwrap_err();
        assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
        assert_eq!(verified(all, None, 10_000), OF_ALL.burst);
    }
}

//! How many tokens may be verified that turn out not to be valid.
//!
//! To verify a signature takes time of a processor, and to send a wrong one takes none. Only those
//! that turn out to be wrong count: whose tokens are valid has no bound here, until its own bound,
//! or that of all, is used up by others' or by its own wrong ones.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::{
    bucket::{Bucket, SECOND},
    identity::Caller,
    metrics::{Bound, CallerMetrics},
    resource::Resource,
};
use crate::error::{Error, Reason, Retry, whole_seconds};

/// How many may be wrong at once, and how many each second after that.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: u64,
    per_second: u64,
}

/// Of one caller, which nothing proves yet: of its addresses.
const OF_CALLER: Rate = Rate { burst: 200, per_second: 20 };
/// Of all together: a small part of one processor.
const OF_ALL: Rate = Rate { burst: 2_000, per_second: 1_000 };

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

    /// Lets a token be verified. `caller`: whom it is counted to if it is wrong; `None` for a
    /// proxy, which sends those of many.
    ///
    /// # Errors
    ///
    /// When too many of this caller, or of all, were wrong; that is counted.
    pub fn admit(&self, caller: Option<&Caller>) -> Result<(), Error> {
        let [of_caller, of_all] = &self.refused;
        if let Some(Err(wait)) = caller.map(|caller| caller.failed_verifications().wait(OF_CALLER))
        {
            of_caller.inc();
            let Rate { burst, per_second } = OF_CALLER;
            let message = format!(
                "too many credentials from here were not valid: {burst} at once, and then \
                 {per_second} a second, are verified, which no setting changes"
            );
            return Err(refused(Reason::CallerQuotaExceeded, message, wait));
        }
        self.failed.wait(OF_ALL).map_err(|wait| {
            of_all.inc();
            let message = "too many credentials were not valid, so none are verified for now";
            refused(Reason::Overloaded, message.to_owned(), wait)
        })
    }

    /// Counts a token that was wrong.
    pub fn failed(&self, caller: Option<&Caller>) {
        caller.into_iter().for_each(|caller| caller.failed_verifications().charge(OF_CALLER));
        self.failed.charge(OF_ALL);
    }
}

fn refused(reason: Reason, message: String, wait: Duration) -> Error {
    Error::new(reason, message).with_retry(Retry::After(Some(whole_seconds(wait))))
}

impl Bucket {
    /// Whether one more may be wrong, or how long it takes until then.
    fn wait(&self, rate: Rate) -> Result<(), Duration> {
        let unit = SECOND / rate.per_second;
        self.take(0, unit * rate.burst - 1).map_err(Duration::from_micros)
    }

    fn charge(&self, rate: Rate) {
        let unit = SECOND / rate.per_second;
        // Those that are verified at the same time may be a few more.
        let _ = self.take(unit, 2 * unit * rate.burst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;
    use crate::caller::Callers;

    /// How many of so many are verified, all of which are wrong.
    fn verified(all: &Verifications, caller: Option<&Caller>, tries: u64) -> u64 {
        let verify = |_: &u64| {
            let admitted = all.admit(caller).is_ok();
            admitted.then(|| all.failed(caller)).is_some()
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
        assert_eq!(verified(all, Some(&one), 1000), OF_CALLER.burst);
        let refused = all.admit(Some(&one)).unwrap_err();
        assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
        assert_eq!(refused.retry(), Retry::After(Some(Duration::from_secs(1))));
        assert!(all.admit(Some(&other)).is_ok());
        advance(Duration::from_secs(1)).await;
        assert_eq!(verified(all, Some(&one), 1000), OF_CALLER.per_second);
        // Who has used something is not forgotten, and so does not get all of it again.
        drop(one);
        callers.forget_idle();
        let again = callers.at("192.0.2.1".parse().unwrap());
        assert!(all.admit(Some(&again)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_valid_have_no_bound_and_those_of_all_have_one() {
        advance(Duration::from_secs(3600)).await;
        let (callers, [one, _]) = callers();
        let all = callers.verifications();
        assert!((0..10_000).all(|_| all.admit(Some(&one)).is_ok()));
        assert_eq!(verified(all, None, 10_000), OF_ALL.burst);
        assert_eq!(all.admit(Some(&one)).unwrap_err().reason(), Reason::Overloaded);
        advance(Duration::from_secs(1)).await;
        assert_eq!(verified(all, None, 10_000), OF_ALL.per_second);
    }
}

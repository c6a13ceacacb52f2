//! The bound that left no room: what it is of, how much, and the setting to raise.
//!
//! An operator who reads a refusal at night has the number and the key in it.

use super::resource::Resource;
use crate::error::{Error, Kind, Reason, Retry};

/// What one caller may hold of anything.
pub const SHARE: &str = "callers.share_percent";

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The caller holds its share.
    OfCaller(Quota),
    /// All callers together hold everything.
    OfAll(Quota),
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What it is a bound of.
    pub resource: Resource,
    /// The most that may be held.
    pub limit: usize,
    /// How much was asked for at once.
    pub asked: usize,
    /// It is what the configuration gives this caller alone, and no share.
    pub is_own: bool,
}

impl Quota {
    /// Whether there would be no room even if nothing else were held.
    const fn is_too_small(&self) -> bool {
        self.asked > self.limit
    }
}

impl Full {
    /// The bound.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        let (Self::OfCaller(quota) | Self::OfAll(quota)) = self;
        quota
    }

    /// What its error has for a reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::OfCaller(_) => Reason::CallerQuotaExceeded,
            Self::OfAll(_) => Reason::Overloaded,
        }
    }

    /// The settings that the bound comes from.
    fn settings(&self) -> String {
        if let Some(quota) = self.quota().resource.quota().filter(|_| self.quota().is_own) {
            return format!(" (`{}` in its `[auth.callers.NAME.quota]`)", quota.name());
        }
        match (self, self.quota().resource.setting()) {
            (Self::OfCaller(_), Some(of)) => format!(" (`{SHARE}` of `{of}`)"),
            (Self::OfCaller(_), None) => format!(" (`{SHARE}`)"),
            (Self::OfAll(_), Some(of)) => format!(" (`{of}`)"),
            (Self::OfAll(_), None) => String::new(),
        }
    }
}

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        let Quota { resource, limit, asked, is_own } = *full.quota();
        let (what, settings) = (resource.plural(), full.settings());
        if full.quota().is_too_small() {
            let whose = match full {
                Full::OfCaller(_) => "one caller may have",
                Full::OfAll(_) => "there can be",
            };
            let message = format!(
                "this takes {asked} {what}, and {whose} {limit}{settings}: it is refused whenever \
                 it is tried; ask for less, or raise the setting"
            );
            // Of the kind that clients do not repeat by themselves.
            let error = Self::new(full.reason(), message).with_kind(Kind::ResourceExhausted);
            return error.with_retry(Retry::No);
        }
        let message = match full {
            Full::OfCaller(_) => {
                let bound = if is_own { "quota" } else { "share" };
                format!("this caller has too many {what}: its {bound} is {limit}{settings}")
            }
            Full::OfAll(_) => format!(
                "too many {what}: the limit is {limit}{settings}; try again later or on another \
                 replica"
            ),
        };
        Self::new(full.reason(), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::facts::facts;

    #[test]
    fn refusals_say_whose_bound_it_was_how_much_it_is_and_what_to_raise() {
        let streams = Quota { resource: Resource::Streams, limit: 7, asked: 1, is_own: false };
        let own = Quota { is_own: true, ..streams };
        let work = Quota { resource: Resource::Work, limit: 500, asked: 20, is_own: false };
        let of_own = "this caller has too many open watch streams: its quota is 7 (`streams` in \
                      its `[auth.callers.NAME.quota]`)";
        let of_caller = "this caller has too many open watch streams: its share is 7 \
                         (`callers.share_percent` of `server.max_concurrent_calls`)";
        let of_all = "too many open watch streams: the limit is 7 \
                      (`server.max_concurrent_calls`); try again later or on another replica";
        let work_of_caller = "this caller has too many microseconds of work on long lists: its \
                              share is 500 (`callers.share_percent`)";
        let work_of_all = "too many microseconds of work on long lists: the limit is 500; try \
                           again later or on another replica";
        for (full, message) in [
            (Full::OfCaller(streams), of_caller),
            (Full::OfCaller(own), of_own),
            (Full::OfAll(streams), of_all),
            (Full::OfCaller(work), work_of_caller),
            (Full::OfAll(work), work_of_all),
        ] {
            let error = Error::from(full);
            assert_eq!(error.message(), message);
            assert_eq!(error.reason(), full.reason());
            let usual = facts(full.reason());
            assert_eq!((error.kind(), error.retry()), (usual.kind, usual.retry));
        }
    }

    #[test]
    fn what_never_fits_is_not_to_be_repeated() {
        let resource = Resource::RequestBytes;
        let quota = Quota { resource, limit: 500, asked: 501, is_own: false };
        let of_caller = "this takes 501 bytes of requests in memory, and one caller may have 500 \
                         (`callers.share_percent` of `memory.requests_percent`): it is refused \
                         whenever it is tried; ask for less, or raise the setting";
        let of_all = "this takes 501 bytes of requests in memory, and there can be 500 \
                      (`memory.requests_percent`): it is refused whenever it is tried; ask for \
                      less, or raise the setting";
        for (full, message) in [(Full::OfCaller(quota), of_caller), (Full::OfAll(quota), of_all)] {
            let error = Error::from(full);
            assert_eq!((error.message(), error.reason()), (message, full.reason()));
            assert_eq!((error.kind(), error.retry()), (Kind::ResourceExhausted, Retry::No));
        }
        let fits = Quota { asked: 500, ..quota };
        assert!(Error::from(Full::OfCaller(fits)).retry() != Retry::No);
    }
}

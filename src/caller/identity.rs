//! One caller: who it is, and what it holds.

use std::{
    fmt,
    net::IpAddr,
    str::FromStr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    allowance::Allowance,
    failures::Failures,
    lines::{Lines, Samples},
    name::{Name, NotAName},
    named::Named,
    processor::{InTurns, Processor},
    resource::Resource,
};
use crate::{error::Error, telemetry::LogMetrics};

/// What precedes the number of a user.
const USER: &str = "uid:";

/// Who a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallerId {
    /// One that has proved who it is.
    Principal(Name),
    /// Everyone at these addresses.
    Network {
        /// The first address of the network.
        address: IpAddr,
        /// How many bits of it all have in common.
        bits: u8,
    },
    /// A user of this machine, on a Unix socket.
    User {
        /// The number of the user.
        uid: u32,
    },
    /// Everyone beyond the number of callers that are told apart.
    Others,
    /// The process itself: what it reads for its own purposes.
    Gateway,
    /// One backend: what the process reads of it for all callers.
    Backend,
}

impl CallerId {
    /// The network of an address. An IPv4 address that is written as IPv6 is an IPv4 address.
    #[must_use]
    pub fn network(address: IpAddr, ipv4_bits: u8, ipv6_bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = ipv4_bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Self::Network { address: IpAddr::V4((address.to_bits() & mask).into()), bits }
            }
            IpAddr::V6(address) => {
                let bits = ipv6_bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Self::Network { address: IpAddr::V6((address.to_bits() & mask).into()), bits }
            }
        }
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(name) => name.fmt(f),
            Self::Network { address: address @ IpAddr::V4(_), bits: 32 }
            | Self::Network { address: address @ IpAddr::V6(_), bits: 128 } => address.fmt(f),
            Self::Network { address, bits } => write!(f, "{address}/{bits}"),
            Self::User { uid } => write!(f, "{USER}{uid}"),
            Self::Others => f.write_str("others"),
            Self::Gateway => f.write_str("gateway"),
            Self::Backend => f.write_str("backend"),
        }
    }
}

impl FromStr for CallerId {
    type Err = NotAName;

    /// Who is shown in this way.
    fn from_str(shown: &str) -> Result<Self, NotAName> {
        match shown {
            "others" => return Ok(Self::Others),
            "gateway" => return Ok(Self::Gateway),
            "backend" => return Ok(Self::Backend),
            _ => {}
        }
        if let Some(Ok(uid)) = shown.strip_prefix(USER).map(str::parse) {
            return Ok(Self::User { uid });
        }
        let (address, bits) = shown.split_once('/').unwrap_or((shown, ""));
        let Ok(address) = address.parse::<IpAddr>() else {
            return shown.parse().map(Self::Principal);
        };
        let all = if address.is_ipv4() { 32 } else { 128 };
        Ok(Self::Network { address, bits: bits.parse().unwrap_or(all) })
    }
}

/// A caller, with what it holds of each resource. All its connections share it.
#[derive(Debug)]
pub struct Caller {
    id: CallerId,
    account: Arc<Account>,
}

/// What a caller holds and does. Those that are not told apart share one.
#[derive(Debug)]
struct Account {
    share_percent: u32,
    purges: Allowance,
    /// Its tokens that were not valid.
    failed_verifications: Failures,
    held: [AtomicUsize; Resource::COUNT],
    lines: Lines,
    processor: Arc<Processor>,
    audit_lines: Lines,
    denials: Samples,
    /// Of a caller that the configuration names.
    named: Option<Named>,
}

static GATEWAY: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    // All of everything: what it does is bounded where it does it.
    Caller::new(CallerId::Gateway, 100, Allowance::default(), None)
});

impl Caller {
    /// `lines_per_second`: how many lines of the log it may cause, if that is bounded.
    pub(super) fn new(
        id: CallerId,
        share_percent: u32,
        purges: Allowance,
        lines_per_second: Option<u32>,
    ) -> Arc<Self> {
        Self::with(id, share_percent, purges, lines_per_second, None)
    }

    /// The same, of one that the configuration names.
    pub(super) fn with(
        id: CallerId,
        share_percent: u32,
        purges: Allowance,
        lines_per_second: Option<u32>,
        named: Option<Named>,
    ) -> Arc<Self> {
        let logs = LogMetrics::of_the_process();
        let lines = Lines::new(lines_per_second, logs.over_rate());
        let audit_lines = Lines::new(lines_per_second, logs.audit_over_rate());
        let denials = Samples::new(logs.audit_over_rate());
        let (held, processor, failed_verifications) = Default::default();
        let account = Account {
            share_percent,
            purges,
            failed_verifications,
            held,
            lines,
            processor,
            audit_lines,
            denials,
            named,
        };
        Arc::new(Self { id, account: Arc::new(account) })
    }

    /// Someone else, who shares with this one all that is counted.
    pub(super) fn sharing(&self, id: CallerId) -> Arc<Self> {
        Arc::new(Self { id, account: Arc::clone(&self.account) })
    }

    /// The process itself. It has no share: what it does is bounded where it does it.
    #[must_use]
    pub fn gateway() -> &'static Arc<Self> {
        &GATEWAY
    }

    /// One backend. It may hold as much as it leaves to others, whatever they hold already.
    #[must_use]
    pub fn backend() -> Arc<Self> {
        Self::new(CallerId::Backend, 100, Allowance::default(), None)
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> CallerId {
        self.id
    }

    /// Whether there may be one more line in the log about what it does; if not, that is counted.
    /// To be asked only for a line that the filter of the log lets pass.
    #[must_use]
    pub fn may_log(&self) -> bool {
        self.account.lines.take(self.id)
    }

    /// The same for the audit log, of writes that have sent nothing.
    #[must_use]
    pub fn may_audit(&self) -> bool {
        self.account.audit_lines.take(self.id)
    }

    /// Whether there may be a line in the audit log about a call of it that was denied: one each
    /// second. If so, how many were left out since the one before; if not, that is counted.
    #[must_use]
    pub fn may_audit_denial(&self) -> Option<u64> {
        self.account.denials.take()
    }

    /// The line that was to tell of so many is left out too.
    pub fn left_out_denial(&self, before: u64) {
        self.account.denials.give_back(before);
    }

    /// How much it may hold of what all callers may hold so much of: at least one. `None` if that
    /// is everything.
    #[must_use]
    pub fn share_of(&self, bound: usize) -> Option<usize> {
        let share = percent_of(bound, self.account.share_percent).max(1);
        (share < bound).then_some(share)
    }

    /// What the configuration gives it, if it names it.
    #[must_use]
    pub fn named(&self) -> Option<&Named> {
        self.account.named.as_ref()
    }

    /// Lets it call once more.
    ///
    /// # Errors
    ///
    /// When it calls too often; that is counted.
    pub fn begin_call(&self) -> Result<(), Error> {
        self.named().map_or(Ok(()), Named::begin_call)
    }

    /// Whether requests may be sent upstream for it.
    ///
    /// # Errors
    ///
    /// How long it takes until then, when its calls have cost too many; that is counted.
    pub fn may_ask_upstream(&self) -> Result<(), Duration> {
        self.named().map_or(Ok(()), Named::may_ask_upstream)
    }

    /// Counts a request that was sent upstream for it.
    pub fn asked_upstream(&self) {
        if let Some(named) = self.named() {
            named.asked_upstream();
        }
    }

    /// Counts a call of it that is over.
    pub fn ended(&self, code: &'static str) {
        if let Some(named) = self.named() {
            named.ended(code);
        }
    }

    /// Lets it drop from a cache what takes so many requests to read again.
    ///
    /// # Errors
    ///
    /// When it does so too often; that is counted.
    pub fn purge(&self, weight: u64) -> Result<(), Error> {
        self.account.purges.take(weight)
    }

    /// Lets a task run in the caller's turns. Only a whole task: what waits for a turn within a
    /// task that has one would keep that turn from others.
    pub fn run<F: Future>(&self, future: F) -> InTurns<F> {
        self.account.processor.run(future)
    }

    /// How much it holds of a resource.
    #[must_use]
    pub fn holds(&self, resource: Resource) -> usize {
        self.of(resource).load(Ordering::Relaxed)
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_idle(self: &Arc<Self>) -> bool {
        // A connection and a place each have a reference of their own.
        let Account { purges, failed_verifications, .. } = &*self.account;
        let has_used_nothing = purges.is_whole() && failed_verifications.is_whole();
        Arc::strong_count(self) == 1 && has_used_nothing
    }

    pub(super) fn failed_verifications(&self) -> &Failures {
        &self.account.failed_verifications
    }

    pub(super) fn of(&self, resource: Resource) -> &AtomicUsize {
        // The array has as many places as there are resources.
        #[expect(clippy::indexing_slicing, reason = "an enum without fields, below its count")]
        &self.account.held[resource.index()]
    }
}

/// So many percent of so much.
#[must_use]
pub fn percent_of(bound: usize, percent: u32) -> usize {
    let percent = usize::try_from(percent).unwrap_or(100);
    // Not multiplied first, which could be too much.
    bound / 100 * percent + bound % 100 * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_first_bits_of_its_addresses() {
        for (address, (ipv4, ipv6), shown) in [
            ("192.0.2.77", (32, 64), "192.0.2.77"),
            ("192.0.2.77", (24, 64), "192.0.2.0/24"),
            ("192.0.2.77", (0, 64), "0.0.0.0/0"),
            ("::ffff:192.0.2.77", (32, 64), "192.0.2.77"),
            ("2001:db8:1:2:3:4:5:6", (32, 64), "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3:4:5:6", (32, 128), "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", (32, 0), "::/0"),
        ] {
            let id = CallerId::network(address.parse().unwrap(), ipv4, ipv6);
            assert_eq!(id.to_string(), shown);
            assert_eq!(shown.parse(), Ok(id));
        }
        let named = CallerId::Principal("billing".parse().unwrap());
        let user = CallerId::User { uid: 1000 };
        assert_eq!(user.to_string(), "uid:1000");
        for id in [CallerId::Others, CallerId::Gateway, CallerId::Backend, named, user] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for unknown in ["some one", "uid:", "uid:-1", "uid:someone"] {
            assert!(unknown.parse::<CallerId>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_share_is_at_least_one_place_and_less_than_all() {
        for (bound, percent, expected) in [
            (1, 50, None),
            (0, 50, None),
            (2, 50, Some(1)),
            (3, 50, Some(1)),
            (64, 1, Some(1)),
            (10, 100, None),
            (1024, 50, Some(512)),
            (199, 50, Some(99)),
            (usize::MAX, 50, Some(usize::MAX / 100 * 50 + usize::MAX % 100 * 50 / 100)),
        ] {
            let caller = Caller::new(CallerId::Others, percent, Allowance::default(), None);
            assert_eq!(caller.share_of(bound), expected, "{percent} % of {bound}");
        }
        assert_eq!(Caller::gateway().share_of(1000), None);
    }

    #[test]
    fn each_resource_has_its_place() {
        let all = [
            Resource::Calls,
            Resource::Arriving,
            Resource::Writes,
            Resource::Streams,
            Resource::Probes,
            Resource::RequestBytes,
            Resource::AnswerBytes,
            Resource::DecodingBytes,
            Resource::LoadBytes,
            Resource::HistoryBytes,
            Resource::Purges,
            Resource::Work,
            Resource::Verifications,
        ];
        assert_eq!(all.map(Resource::index), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(all.len(), Resource::COUNT);
    }
}

//! The vendor's limits (page "Rate limits").

use std::{num::NonZeroU32, time::Duration};

use crate::upstream::{Limits, RateLimit, WindowLimit};

const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
/// The longest month: any month has at most as many requests as this window.
const MONTH: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// What the page allows. It does not say whether its windows slide, so these do: they keep within
/// both kinds.
pub(super) const DOCUMENTED: Limits = Limits {
    // For reads of profiles, per organization; nothing allows more for other requests.
    rate: match (NonZeroU32::new(100), NonZeroU32::new(50)) {
        (Some(per_second), Some(burst)) => Some(RateLimit { per_second, burst }),
        _ => None,
    },
    // For one address.
    requests: Some(WindowLimit { requests: 2_000, length: FIVE_MINUTES }),
    // For one organization.
    monthly_requests: Some(WindowLimit { requests: 10_000_000, length: MONTH }),
    logins: Some(WindowLimit { requests: 100, length: FIVE_MINUTES }),
};

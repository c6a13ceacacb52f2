//! Switches for what the documents leave open, and how the control API ends tokens.

use serde::{Deserialize, Serialize};

use crate::options::Options;

const MAX_MS: u64 = 365 * 24 * 60 * 60 * 1_000;
const MAX_RATE: u32 = 1_000_000;
/// Each request of a window is remembered.
const MAX_WINDOW: u32 = 100_000;

/// The switches, which the simulator uses and the control API shows and changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switches {
    /// Code beside 404: 1401 (observed for a sibling) or 1201 (documented in the table of codes).
    pub not_found_code: u32,
    /// Of a successful patch: 201 (documented), 204 (observed on siblings) or 200.
    pub patch_status: u16,
    /// Whether a create names the new profile in `Location` (observed on siblings).
    pub create_location: bool,
    /// Of attaching a traffic limit again: 200, 409 or 422. No document says.
    pub limit_twice_status: u16,
    /// Whether all wrong types are reported inside 1400, rather than only the first as 1403.
    pub format_errors_nested: bool,
    /// Whether `used_count` in lists is a string, as their schema has it.
    pub list_used_count_as_text: bool,
    /// Whether the account has the privilege that `retail` needs.
    pub retail_allowed: bool,
    /// Whether the documented limits hold.
    pub rate_limit: bool,
    pub rate_per_second: u32,
    pub rate_burst: u32,
    /// The length of the windows for requests and logins.
    pub window_ms: u64,
    pub window_requests: u32,
    pub window_logins: u32,
    pub month_requests: u32,
    /// `Retry-After` beside 429; 0 leaves it out, as nothing documents it.
    pub retry_after_seconds: u64,
    /// Applies to tokens issued later.
    pub token_ttl_ms: u64,
    /// How long three failed logins lock. Applies to locks that come later.
    pub lock_ms: u64,
}

impl Switches {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            not_found_code: 1401,
            patch_status: 201,
            create_location: true,
            limit_twice_status: 200,
            format_errors_nested: false,
            list_used_count_as_text: true,
            retail_allowed: true,
            rate_limit: true,
            rate_per_second: 100,
            rate_burst: 50,
            window_ms: 5 * 60 * 1_000,
            window_requests: 2_000,
            window_logins: 100,
            month_requests: 10_000_000,
            retry_after_seconds: 0,
            token_ttl_ms: u64::try_from(options.endpoint_token_ttl.as_millis())
                .unwrap_or(MAX_MS)
                .min(MAX_MS),
            lock_ms: 5 * 60 * 1_000,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let rates = 1..=MAX_RATE;
        for (holds, allowed) in [
            ([1201, 1401].contains(&self.not_found_code), "`not_found_code` must be 1401 or 1201"),
            (
                [200, 201, 204].contains(&self.patch_status),
                "`patch_status` must be 200, 201 or 204",
            ),
            (
                [200, 409, 422].contains(&self.limit_twice_status),
                "`limit_twice_status` must be 200, 409 or 422",
            ),
            (
                rates.contains(&self.rate_per_second) && rates.contains(&self.rate_burst),
                "`rate_per_second` and `rate_burst` must be 1 to 1000000",
            ),
            (
                (1..=MAX_WINDOW).contains(&self.window_requests)
                    && (1..=MAX_WINDOW).contains(&self.window_logins),
                "`window_requests` and `window_logins` must be 1 to 100000",
            ),
            (
                self.month_requests > 0 && (1..=MAX_MS).contains(&self.window_ms),
                "`month_requests` must not be 0, and `window_ms` must be 1 to 31536000000",
            ),
            (
                self.token_ttl_ms <= MAX_MS && self.lock_ms <= MAX_MS,
                "`token_ttl_ms` and `lock_ms` must be at most 31536000000",
            ),
        ] {
            if !holds {
                return Err(allowed.to_owned());
            }
        }
        Ok(())
    }
}

/// How tokens end: expired, which the vendor reports as such, or forgotten, so that they are
/// unknown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expiry {
    pub forget: bool,
}

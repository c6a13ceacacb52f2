//! What the control API can do to the endpoint API simulator: raw profiles, tokens, and switches for what the
//! documents leave open.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Endpoint, fields};
use crate::Options;
use crate::store::{self, Members};

const MAX_MS: u64 = 365 * 24 * 60 * 60 * 1_000;
const MAX_RATE: u32 = 1_000_000;

/// The switches, as the simulator uses them and as the control API shows and changes them.
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
    /// Whether wrong types are told inside 1400, all of them, rather than one as 1403.
    pub format_errors_nested: bool,
    /// Whether `used_count` in lists is a string, as their schema has it.
    pub list_used_count_as_text: bool,
    /// Whether the account has the privilege that `retail` needs.
    pub retail_allowed: bool,
    /// Whether profile reads have a rate limit.
    pub rate_limit: bool,
    pub rate_per_second: u32,
    pub rate_burst: u32,
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
            retry_after_seconds: 0,
            token_ttl_ms: u64::try_from(options.endpoint_token_ttl.as_millis())
                .unwrap_or(MAX_MS)
                .min(MAX_MS),
            lock_ms: 5 * 60 * 1_000,
        }
    }

    fn check(&self) -> Result<(), String> {
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

/// How tokens end: expired, which the vendor says, or forgotten, so that they are unknown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expiry {
    forget: bool,
}

/// Profiles to add, each as after a create with `profile` over it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seed {
    count: usize,
    #[serde(default)]
    profile: Members,
}

impl Endpoint {
    pub(crate) fn switches(&self) -> Switches {
        self.lock().switches.clone()
    }

    /// # Errors
    ///
    /// What is allowed, in words; then nothing has changed.
    pub(crate) fn set_switches(&self, wanted: Members) -> Result<(), String> {
        let mut inner = self.lock();
        let switches = store::changed(&inner.switches, wanted)?;
        switches.check()?;
        inner.switches = switches;
        Ok(())
    }

    pub(crate) fn expire_tokens(&self, how: &Expiry) {
        self.lock().auth.expire(how.forget);
    }

    pub(crate) fn unlock(&self) {
        self.lock().auth.unlock();
    }

    /// All profiles as they are, by id.
    pub(crate) fn raw_profiles(&self) -> Vec<Value> {
        let inner = self.lock();
        inner.account.profiles.iter().map(|(_, profile)| Value::Object(profile.clone())).collect()
    }

    pub(crate) fn raw_profile(&self, id: i64) -> Option<Value> {
        self.lock().account.profiles.get(id).cloned().map(Value::Object)
    }

    /// Inserts or replaces a profile to the letter: what is not there is not shown by reads either.
    ///
    /// # Errors
    ///
    /// What is allowed, in words.
    pub(crate) fn put_raw_profile(&self, id: i64, profile: Members) -> Result<Value, String> {
        store::check_size(&profile)?;
        let mut inner = self.lock();
        if !inner.account.profiles.put(id, profile) {
            return Err(format!("the account is full ({} profiles)", self.options.max_profiles));
        }
        Ok(inner.account.profiles.get(id).cloned().map(Value::Object).unwrap_or_default())
    }

    pub(crate) fn delete_raw_profile(&self, id: i64) -> bool {
        self.lock().account.profiles.remove(id)
    }

    /// Adds many profiles and tells the first and the last id.
    ///
    /// # Errors
    ///
    /// What is allowed, in words; then nothing was added.
    pub(crate) fn seed(&self, seed: Seed) -> Result<Value, String> {
        let mut template = fields::new_profile();
        template.extend(seed.profile);
        store::check_size(&template)?;
        let is_named = template.get("name").is_some_and(Value::is_string);
        let mut inner = self.lock();
        let room = inner.account.profiles.room();
        if seed.count == 0 || seed.count > room {
            return Err(format!("`count` must be 1 to {room}, what the account has room for"));
        }
        let mut ids = Vec::new();
        for number in 1..=seed.count {
            let mut profile = template.clone();
            if !is_named {
                profile.insert("name".to_owned(), format!("Seeded {number:05}").into());
            }
            ids.extend(inner.account.profiles.add(profile));
        }
        Ok(json!({ "count": ids.len(), "first": ids.first(), "last": ids.last() }))
    }
}

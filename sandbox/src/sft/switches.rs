//! What the control API can do to the SFT simulator: raw profiles, tokens, and switches for what the documents leave
//! open.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::auth::Kind;
use super::state::Profile;
use super::wire::Codes;
use super::{Inner, Sft};
use crate::Options;

const MAX_ID: usize = 64;
/// Longest text of the additional members of a raw profile.
const MAX_EXTRA: usize = 16 * 1_024;
const MAX_TTL_MS: u64 = 365 * 24 * 60 * 60 * 1_000;

/// The switches as the simulator uses them.
pub(super) struct Switches {
    pub in_use_code: InUseCode,
    pub unauthorized_outer: UnauthorizedOuter,
    pub require_x_requested_with: bool,
    pub token_ttl: Duration,
    pub refresh_ttl: Duration,
}

/// The code for "attached to plan": the documents' example shows 8196, their table 1338.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InUseCode {
    #[serde(rename = "8196")]
    Example,
    #[serde(rename = "1338")]
    Table,
}

/// The outer code beside an inner 401: clients have been seen to expect either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UnauthorizedOuter {
    #[serde(rename = "1")]
    Failure,
    #[serde(rename = "401")]
    Same,
}

impl Switches {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            in_use_code: InUseCode::Example,
            unauthorized_outer: UnauthorizedOuter::Failure,
            require_x_requested_with: options.require_x_requested_with,
            token_ttl: options.token_ttl,
            refresh_ttl: options.refresh_ttl,
        }
    }

    pub(super) fn codes(&self) -> Codes {
        Codes {
            in_use: match self.in_use_code {
                InUseCode::Example => "8196",
                InUseCode::Table => "1338",
            },
            unauthorized_outer: match self.unauthorized_outer {
                UnauthorizedOuter::Failure => "1",
                UnauthorizedOuter::Same => "401",
            },
        }
    }
}

/// The switches as the control API shows and changes them; what is absent stays. Lives apply to tokens issued later.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SwitchSettings {
    in_use_code: Option<InUseCode>,
    unauthorized_outer: Option<UnauthorizedOuter>,
    require_x_requested_with: Option<bool>,
    token_ttl_ms: Option<u64>,
    refresh_ttl_ms: Option<u64>,
}

/// Which tokens to expire; both unless said otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expiry {
    #[serde(default = "yes")]
    access: bool,
    #[serde(default = "yes")]
    refresh: bool,
}

fn yes() -> bool {
    true
}

impl Sft {
    pub(crate) fn switches(&self) -> SwitchSettings {
        let inner = self.lock();
        let switches = &inner.switches;
        let ms = |time: Duration| u64::try_from(time.as_millis()).ok();
        SwitchSettings {
            in_use_code: Some(switches.in_use_code),
            unauthorized_outer: Some(switches.unauthorized_outer),
            require_x_requested_with: Some(switches.require_x_requested_with),
            token_ttl_ms: ms(switches.token_ttl),
            refresh_ttl_ms: ms(switches.refresh_ttl),
        }
    }

    /// # Errors
    ///
    /// What is allowed, in words; then nothing has changed.
    pub(crate) fn set_switches(&self, wanted: &SwitchSettings) -> Result<(), String> {
        for ms in [wanted.token_ttl_ms, wanted.refresh_ttl_ms] {
            if ms.is_some_and(|ms| ms > MAX_TTL_MS) {
                return Err(format!("token lives must be at most {MAX_TTL_MS} ms"));
            }
        }
        let mut inner = self.lock();
        let Inner { switches, .. } = &mut *inner;
        set(&mut switches.in_use_code, wanted.in_use_code);
        set(&mut switches.unauthorized_outer, wanted.unauthorized_outer);
        set(&mut switches.require_x_requested_with, wanted.require_x_requested_with);
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        set(&mut switches.token_ttl, time(wanted.token_ttl_ms));
        set(&mut switches.refresh_ttl, time(wanted.refresh_ttl_ms));
        Ok(())
    }

    pub(crate) fn expire_tokens(&self, which: &Expiry) {
        let mut inner = self.lock();
        if which.access {
            inner.auth.expire(Kind::Access);
        }
        if which.refresh {
            inner.auth.expire(Kind::Refresh);
        }
    }

    pub(crate) fn unlock(&self) {
        self.lock().auth.unlock();
    }

    /// All profiles as they are, by id.
    pub(crate) fn raw_profiles(&self) -> Vec<Value> {
        self.lock().account.iter().map(|(id, profile)| with_id(id, profile)).collect()
    }

    pub(crate) fn raw_profile(&self, id: &str) -> Option<Value> {
        self.lock().account.get(id).map(|profile| with_id(id, profile))
    }

    /// Inserts or replaces a profile whatever the vendor's rules say about it.
    ///
    /// # Errors
    ///
    /// What is allowed, in words.
    pub(crate) fn put_raw_profile(&self, id: &str, profile: Profile) -> Result<Value, String> {
        if id.is_empty() || id.len() > MAX_ID {
            return Err(format!("a profile id must have 1 to {MAX_ID} bytes"));
        }
        let extra: usize =
            profile.extra.iter().map(|(name, member)| name.len() + member.to_string().len()).sum();
        if extra > MAX_EXTRA {
            return Err(format!("`extra` must be at most {MAX_EXTRA} bytes"));
        }
        let shown = with_id(id, &profile);
        if self.lock().account.put(id, profile) {
            Ok(shown)
        } else {
            Err(format!("the account is full ({} profiles)", self.options.max_profiles))
        }
    }

    pub(crate) fn delete_raw_profile(&self, id: &str) -> bool {
        self.lock().account.remove(id)
    }
}

fn set<T>(switch: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *switch = wanted;
    }
}

fn with_id(id: &str, profile: &Profile) -> Value {
    let mut members = Map::new();
    members.insert("id".to_owned(), id.into());
    if let Ok(Value::Object(rest)) = serde_json::to_value(profile) {
        members.extend(rest);
    }
    Value::Object(members)
}

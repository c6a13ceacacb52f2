//! Switches for what the documents leave open, and which tokens the control API expires.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::verdict::Codes;
use crate::options::Options;

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

    /// As the control API shows them.
    pub(super) fn settings(&self) -> SwitchSettings {
        let ms = |time: Duration| u64::try_from(time.as_millis()).ok();
        SwitchSettings {
            in_use_code: Some(self.in_use_code),
            unauthorized_outer: Some(self.unauthorized_outer),
            require_x_requested_with: Some(self.require_x_requested_with),
            token_ttl_ms: ms(self.token_ttl),
            refresh_ttl_ms: ms(self.refresh_ttl),
        }
    }

    /// Changes the switches that are given.
    ///
    /// # Errors
    ///
    /// Says what is allowed; nothing has changed then.
    pub(super) fn set(&mut self, wanted: &SwitchSettings) -> Result<(), String> {
        for ms in [wanted.token_ttl_ms, wanted.refresh_ttl_ms] {
            if ms.is_some_and(|ms| ms > MAX_TTL_MS) {
                return Err(format!("token lifetimes must be at most {MAX_TTL_MS} ms"));
            }
        }
        set(&mut self.in_use_code, wanted.in_use_code);
        set(&mut self.unauthorized_outer, wanted.unauthorized_outer);
        set(&mut self.require_x_requested_with, wanted.require_x_requested_with);
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        set(&mut self.token_ttl, time(wanted.token_ttl_ms));
        set(&mut self.refresh_ttl, time(wanted.refresh_ttl_ms));
        Ok(())
    }
}

/// The switches as the control API shows and changes them; absent ones stay as they are. Lifetimes
/// apply to tokens issued later.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SwitchSettings {
    in_use_code: Option<InUseCode>,
    unauthorized_outer: Option<UnauthorizedOuter>,
    require_x_requested_with: Option<bool>,
    token_ttl_ms: Option<u64>,
    refresh_ttl_ms: Option<u64>,
}

/// Which tokens to expire; by default both kinds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expiry {
    #[serde(default = "yes")]
    pub access: bool,
    #[serde(default = "yes")]
    pub refresh: bool,
}

fn yes() -> bool {
    true
}

fn set<T>(switch: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *switch = wanted;
    }
}

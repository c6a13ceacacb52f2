//! Which upstreams a gateway may serve: a sandbox must never be taken for the real ones.

use super::WITHOUT_BACKENDS;
use crate::config::Config;

const NOT_WITHOUT_BACKENDS: &str = "no backend is configured: name a file with `--config FILE` or \
    PROFILE_GATEWAY_CONFIG, or set PROFILE_GATEWAY__BACKENDS__NAME__KEY variables; to serve \
    simulated upstreams instead, add `--sandbox`";
const ONLY_ON_LOOPBACK: &str = "no backend is configured, and simulated upstreams are served on \
    loopback addresses alone: configure a backend, or say `serve --sandbox` if others are to reach \
    them";
const NOT_BOTH: &str = "`--sandbox` serves simulated upstreams alone, and this configuration has \
    backends: leave one of the two out";

/// Which upstreams the program was asked to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstreams {
    /// Those of the configuration.
    Real,
    /// Those of the configuration, or simulated ones if it names none and no other machine can
    /// reach them.
    RealOrSandbox,
    /// Simulated ones.
    Sandbox,
}

impl Upstreams {
    /// Whether a gateway of this configuration may serve them.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub fn check(self, config: &Config) -> Result<(), &'static str> {
        if !config.backends.is_empty() {
            return if self == Self::Sandbox { Err(NOT_BOTH) } else { Ok(()) };
        }
        WITHOUT_BACKENDS?;
        match self {
            Self::Sandbox => Ok(()),
            Self::Real => Err(NOT_WITHOUT_BACKENDS),
            Self::RealOrSandbox if config.addresses.are_loopback() => Ok(()),
            Self::RealOrSandbox => Err(ONLY_ON_LOOPBACK),
        }
    }
}

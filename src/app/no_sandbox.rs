//! Takes the place of `sandbox` in a build without the simulated upstreams: there is nothing to
//! start.

use std::{collections::BTreeMap, convert::Infallible, io};

use crate::config::BackendSettings;

const NO_BACKENDS: &str = "no backend is configured, and this build has no sandbox to serve \
    instead: configure backends with `serve --config FILE` or PROFILE_GATEWAY__BACKENDS__NAME__KEY \
    variables, or build with the cargo feature `sandbox`";

/// What a configuration without backends leads to.
pub const WITHOUT_BACKENDS: Result<&str, &str> = Err(NO_BACKENDS);

/// Simulators that cannot exist: there is no value of this type.
pub(super) struct Embedded(Infallible);

impl Embedded {
    pub(super) async fn start() -> io::Result<(Self, BTreeMap<String, BackendSettings>)> {
        Err(io::Error::other(NO_BACKENDS))
    }

    pub(super) fn base_url(&self) -> String {
        match self.0 {}
    }

    pub(super) async fn stop(self) {
        match self.0 {}
    }
}

//! What is kept of a configuration to tell people of it at the start.

use crate::config::Config;

/// What the start says of a configuration.
pub(super) struct About {
    /// The names of the backends.
    pub(super) backends: Vec<String>,
    /// How many warnings there are.
    pub(super) warnings: usize,
}

impl About {
    pub(super) fn of(config: &Config) -> Self {
        let backends = config.backends.keys().cloned().collect();
        Self { backends, warnings: config.warnings.len() }
    }
}

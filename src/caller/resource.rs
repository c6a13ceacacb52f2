//! What a caller can hold of the process.

use crate::telemetry::label_values;

label_values! {
    /// What a caller can hold, by its name in metrics.
    pub enum Resource {
        /// Calls that run, streams among them.
        Calls = "calls",
        /// Calls whose request message has not arrived yet.
        Arriving = "arriving",
        /// Streams of changes.
        Streams = "streams",
    }
}

impl Resource {
    /// The number of resources.
    pub(super) const COUNT: usize = 3;

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// What there are too many of.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Calls => "concurrent calls",
            Self::Arriving => "calls without their request message",
            Self::Streams => "open watch streams",
        }
    }
}

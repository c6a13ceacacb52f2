//! The parts of the budget.

use crate::telemetry::label_values;

label_values! {
    /// A part of the budget.
    pub enum Part {
        /// Requests, from their first byte to the end of their calls.
        Requests = "requests",
        /// Responses, until the connection has taken them.
        Answers = "answers",
        /// Bodies of upstreams, while they are read.
        Decoding = "decoding",
        /// What loads have read, until it is cached or answered.
        Loads = "loads",
        /// The caches of all backends.
        Cache = "cache",
        /// Writes that are kept under their request ids.
        RequestIds = "request_ids",
        /// Changes and last lists of watched backends.
        WatchHistory = "watch_history",
    }
}

impl Part {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Answers,
        Self::Decoding,
        Self::Loads,
        Self::Cache,
        Self::RequestIds,
        Self::WatchHistory,
    ];
}

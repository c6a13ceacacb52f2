//! What a caller can hold of the process.

use crate::telemetry::label_values;

label_values! {
    /// What a caller can hold, by its name in metrics.
    pub enum Resource {
        /// Calls that run, streams among them.
        Calls = "calls",
        /// Calls whose request message has not arrived yet.
        Arriving = "arriving",
        /// Writes under way, also those whose call is over.
        Writes = "writes",
        /// Streams of changes.
        Streams = "streams",
        /// Streams of health and reflection.
        Probes = "probes",
        /// Bytes of requests, from the announced length on, and what is built of them.
        RequestBytes = "request_bytes",
        /// Bytes of responses that the connection has not taken.
        AnswerBytes = "answer_bytes",
        /// Bytes of answers of upstreams that are being read.
        DecodingBytes = "decoding_bytes",
        /// Bytes of what reads of upstreams have found, until it is cached or answered.
        LoadBytes = "load_bytes",
        /// Bytes of lists and changes of watched backends.
        HistoryBytes = "history_bytes",
        /// Values dropped from caches.
        Purges = "purges",
        /// Microseconds of work on lists that is under way or waits for a processor.
        Work = "work",
        /// Tokens that are verified and turn out not to be valid.
        Verifications = "verifications",
    }
}

label_values! {
    /// A quota of a named caller, by its key.
    pub(super) enum NamedQuota {
        /// Calls at once.
        Calls = "calls",
        /// Calls within a time.
        Rate = "rate",
        /// Requests to upstreams within a time.
        UpstreamRate = "upstream_rate",
        /// Streams of changes.
        Streams = "streams",
        /// Remembered writes.
        RequestIds = "request_ids",
        /// Bytes in memory.
        Bytes = "bytes",
    }
}

impl Resource {
    /// The number of resources.
    pub(super) const COUNT: usize = 13;

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// What there are too many of.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Calls => "concurrent calls",
            Self::Arriving => "calls without their request message",
            Self::Writes => "writes under way",
            Self::Streams => "open watch streams",
            Self::Probes => "open streams of health or reflection",
            Self::RequestBytes => "bytes of requests in memory",
            Self::AnswerBytes => "bytes of responses in memory",
            Self::DecodingBytes => "bytes of upstream answers in memory",
            Self::LoadBytes => "bytes of reads in memory",
            Self::HistoryBytes => "bytes of changes in memory",
            Self::Purges => "purges",
            Self::Work => "microseconds of work on long lists",
            Self::Verifications => "tokens that are not valid",
        }
    }

    /// The quota of a named caller that bounds it, in place of its share.
    pub(super) const fn quota(self) -> Option<NamedQuota> {
        Some(match self {
            Self::Calls | Self::Arriving | Self::Writes => NamedQuota::Calls,
            Self::Streams => NamedQuota::Streams,
            Self::RequestBytes | Self::AnswerBytes | Self::LoadBytes => NamedQuota::Bytes,
            Self::Probes
            | Self::DecodingBytes
            | Self::HistoryBytes
            | Self::Purges
            | Self::Work
            | Self::Verifications => return None,
        })
    }

    /// The key of the setting that says how much of it there may be, if there is one.
    #[must_use]
    pub const fn setting(self) -> Option<&'static str> {
        Some(match self {
            Self::Calls | Self::Arriving | Self::Writes | Self::Streams => {
                "server.max_concurrent_calls"
            }
            Self::Probes => "server.max_probe_streams",
            Self::RequestBytes => "memory.requests_percent",
            Self::AnswerBytes => "memory.answers_percent",
            Self::DecodingBytes => "memory.decoding_percent",
            Self::LoadBytes => "memory.loads_percent",
            Self::HistoryBytes => "memory.watch_history_percent",
            Self::Purges | Self::Work | Self::Verifications => return None,
        })
    }
}

//! The values of labels in the metrics of requests to upstreams.

use crate::telemetry::label_values;

label_values! {
    /// How a request ended: the class of its status, or why it has no status.
    pub(in crate::upstream) enum RequestOutcome {
        Success = "2xx",
        Redirect = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        OtherStatus = "other",
        /// The response could not be read.
        Unreadable = "unreadable",
        /// The caller ran out of time.
        Deadline = "deadline",
        Unreachable = "unreachable",
    }
}

label_values! {
    /// How a login ended.
    pub(in crate::upstream) enum LoginOutcome {
        LoggedIn = "logged_in",
        LoginFailed = "login_failed",
        Refreshed = "refreshed",
        RefreshFailed = "refresh_failed",
    }
}

label_values! {
    /// Why a request was refused without being sent.
    pub(in crate::upstream) enum Shed {
        /// The queue was full.
        Full = "queue_full",
        /// Its turn would have come after its deadline.
        TooLate = "deadline_too_near",
        /// It waited until its deadline.
        Waited = "deadline",
        /// Its turn under the rate limit would have come after its deadline.
        Rate = "rate_limit",
        /// The vendor's limit within a window leaves nothing for it before its deadline.
        Window = "window_limit",
        /// The pause that the upstream has asked for ends after its deadline.
        Pause = "pause",
        /// Its caller has its share of the queue.
        CallerQueue = "caller_queue",
        /// Its caller has used its share of the vendor's limit, which others use too.
        CallerLimit = "caller_limit",
        /// Its caller has used its own quota of requests.
        CallerRate = "caller_rate",
    }
}

/// How many ways there are to be refused.
pub(super) const SHED: usize = Shed::CallerRate as usize + 1;

label_values! {
    /// What a window counts.
    pub(in crate::upstream) enum WindowName {
        Requests = "requests",
        MonthlyRequests = "monthly_requests",
        Logins = "logins",
    }
}

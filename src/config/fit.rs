//! What one setting allows and the memory can never hold.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::backend::BackendSettings;
use crate::{
    caller::{CallerMetrics, CallerSettings, Callers},
    resources::{Budget, MemoryMetrics, MemorySettings},
    server::ServerSettings,
    settings::show_bytes,
    upstream,
};

/// What is allowed, and what there is for it.
struct Allowed<'a> {
    /// The limit, and its key.
    limit: (usize, &'a str),
    /// What is limited.
    what: &'a str,
    /// The least memory that this takes.
    needed: usize,
    /// The most memory that there can be for it, and for whom.
    most: (usize, &'a str),
    /// What to raise beside the budget.
    part: &'a str,
}

impl Allowed<'_> {
    fn warning(&self) -> Option<String> {
        let Self { limit: (limit, key), what, needed, most: (most, whose), part } = *self;
        (needed > most).then(|| {
            format!(
                "`{key}` allows {what} of {}, which take {} of memory or more, but {whose} can \
                 have only {} of it: the largest are always refused; raise `memory.budget_bytes` \
                 or {part}, or lower `{key}`",
                show_bytes(&limit),
                mebibytes(needed),
                mebibytes(most),
            )
        })
    }
}

/// A warning for each limit of a message or an answer that is beyond what the memory can hold.
pub(super) fn warnings(
    memory: &MemorySettings,
    callers: &CallerSettings,
    server: &ServerSettings,
    backends: &BTreeMap<String, BackendSettings>,
) -> Vec<String> {
    // As they will be, so that what they grant is decided in one place.
    let callers = Callers::new(callers.clone(), CallerMetrics::default());
    let budget = Budget::new(memory, &callers, &MemoryMetrics::default());
    let caller = callers.at(Ipv4Addr::LOCALHOST.into());
    let of_backend = budget.of_backend(backends.len() == 1).decoding.most();
    let messages = [
        Allowed {
            limit: (server.max_request_bytes, "server.max_request_bytes"),
            what: "requests",
            needed: server.memory_of_largest_request(),
            most: (budget.requests.most_for(&caller), "one caller"),
            part: "`memory.requests_percent`",
        },
        Allowed {
            limit: (server.max_response_bytes, "server.max_response_bytes"),
            what: "responses",
            needed: server.max_response_bytes,
            most: (budget.answers.most_for(&caller), "one caller"),
            part: "`memory.answers_percent`",
        },
    ];
    let answers = backends.values().map(|backend| {
        let limit = backend.upstream.max_response_bytes;
        let warning = Allowed {
            limit: (limit, "max_response_bytes"),
            what: "answers",
            needed: upstream::least_memory(limit),
            most: (of_backend, "one backend"),
            part: "`memory.decoding_percent`",
        };
        let BackendSettings { origin, name, .. } = backend;
        warning.warning().map(|warning| format!("{origin}: backend `{name}`: {warning}"))
    });
    messages.iter().map(Allowed::warning).chain(answers).flatten().collect()
}

/// With a digit after the point, rounded down.
fn mebibytes(bytes: usize) -> String {
    format!("{}.{}MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

//! The kinds of faults, as the control API writes them. Nothing here is specific to a vendor;
//! `exchange` and `answer` implement the kinds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest wait of any kind.
pub(super) const MAX_WAIT_MS: u64 = 600_000;
/// Most bytes of a `huge` answer; they are generated while sending, so this bounds time rather than
/// memory.
const MAX_HUGE: u64 = 8 << 30;
/// Deepest nesting of a `deep` answer; each level takes two bytes.
const MAX_DEPTH: u32 = 1_000_000;

/// The names of all kinds, as the control API takes them.
pub const KINDS: &[&str] = &[
    "delay",
    "drop",
    "hang",
    "reset",
    "truncate",
    "trickle",
    "html",
    "empty",
    "status",
    "ignore",
    "lag",
    "body",
    "result",
    "outer",
    "numbers",
    "nulls",
    "unknown_members",
    "missing",
    "total_count",
    "huge",
    "deep",
    "bad_head",
    "coding",
    "echo",
    "invalid_utf8",
    "respell",
];

/// A fault. Kinds without a `commit` member process the request as usual and distort the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FaultKind {
    /// The usual answer, late. The effect happens even if the client disconnects in the meantime.
    Delay {
        ms: u64,
        #[serde(default)]
        commit: DelayCommit,
    },
    /// The connection is closed cleanly (TCP FIN) before any byte of an answer.
    Drop {
        #[serde(default)]
        commit: Commit,
    },
    /// No answer until the client disconnects, ten minutes pass, or the sandbox is reset.
    Hang {
        #[serde(default)]
        commit: Commit,
    },
    /// The connection is reset (TCP RST) before any byte of an answer.
    Reset {
        #[serde(default)]
        commit: Commit,
    },
    /// Complete headers and a body cut off after `bytes` (default: half of it), then the connection
    /// is closed.
    Truncate { bytes: Option<usize> },
    /// The complete answer, `chunk` bytes at a time with a pause after each chunk.
    Trickle { chunk: usize, pause_ms: u64 },
    /// An HTML page, as a proxy or a servlet container would send.
    Html {
        #[serde(default = "ok")]
        status: u16,
        #[serde(default)]
        commit: Commit,
    },
    /// No body.
    Empty {
        #[serde(default = "ok")]
        status: u16,
        #[serde(default)]
        commit: Commit,
    },
    /// An HTTP status, with an HTML page unless `body` is given. With `late_ms`, the effect happens
    /// that long after the answer.
    Status {
        status: u16,
        retry_after_seconds: Option<u64>,
        body: Option<String>,
        #[serde(default)]
        commit: Commit,
        #[serde(default)]
        late_ms: u64,
    },
    /// The vendor's own success, without the effect.
    Ignore {},
    /// The usual answer and effect; reads show the state before it for `ms`.
    Lag { ms: u64 },
    /// A literal answer.
    Body {
        #[serde(default = "ok")]
        status: u16,
        #[serde(default = "json_type")]
        content_type: String,
        body: String,
        #[serde(default)]
        commit: Commit,
    },
    /// The vendor's own answer with the result `code`. With `late`, the effect happens `late_ms`
    /// after the answer.
    Result {
        code: String,
        description: Option<String>,
        /// The outer result code, for a vendor that has one.
        outer: Option<String>,
        #[serde(default)]
        commit: ResultCommit,
        #[serde(default)]
        late_ms: u64,
    },
    /// The usual answer with another outer result code.
    Outer { code: String },
    /// Numbers that the vendor writes as strings become JSON numbers; for a vendor that writes
    /// numbers, the other way around.
    Numbers {},
    /// Optional members that would be absent become null, and so do the members named here.
    Nulls {
        #[serde(default)]
        members: Vec<String>,
    },
    /// Members that no document mentions, scalar and nested, in the envelope and in each profile.
    UnknownMembers {},
    /// Leaves out the named members, at any depth.
    Missing { members: Vec<String> },
    /// Another value of the member `totalCount`.
    TotalCount { value: Value },
    /// Valid JSON of at least this many bytes, generated while sending. `declared`: with a
    /// Content-Length.
    Huge {
        bytes: u64,
        #[serde(default)]
        declared: bool,
    },
    /// An additional member with arrays nested this deep.
    Deep { depth: u32 },
    /// Bytes that are not the head of an HTTP response, then an orderly close.
    BadHead {
        #[serde(default)]
        commit: Commit,
    },
    /// The usual answer in this content coding, with the name as it is spelled here. In a coding
    /// other than gzip and deflate, only the name is sent.
    Coding { coding: String },
    /// The vendor's own answer with the result `code` and a description that repeats the
    /// credentials of the request.
    Echo {
        code: String,
        #[serde(default)]
        commit: Commit,
    },
    /// Bytes that are not UTF-8 inside the strings of the answer.
    InvalidUtf8 {},
    /// The name in the request is stored in another spelling. `lost`: the connection is closed
    /// before any byte of an answer.
    Respell {
        how: Spelling,
        #[serde(default)]
        lost: bool,
    },
}

/// What may become of a name that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Spelling {
    /// Trimmed, and each run of white space a single blank.
    Collapse,
    /// In the Unicode form NFC.
    Nfc,
    /// With the character references of HTML.
    Escape,
    /// The first 20 characters.
    Cut,
    /// In lower case.
    Fold,
}

/// Whether the request takes effect even though its answer is lost or replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Commit {
    #[default]
    None,
    Before,
}

/// Whether the effect of a delayed request comes before or after the wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DelayCommit {
    #[default]
    Before,
    After,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResultCommit {
    #[default]
    None,
    Before,
    Late,
}

fn ok() -> u16 {
    200
}

fn json_type() -> String {
    "application/json".to_owned()
}

impl FaultKind {
    /// Its name in the control API.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Drop { .. } => "drop",
            Self::Hang { .. } => "hang",
            Self::Reset { .. } => "reset",
            Self::Truncate { .. } => "truncate",
            Self::Trickle { .. } => "trickle",
            Self::Html { .. } => "html",
            Self::Empty { .. } => "empty",
            Self::Status { .. } => "status",
            Self::Ignore {} => "ignore",
            Self::Lag { .. } => "lag",
            Self::Body { .. } => "body",
            Self::Result { .. } => "result",
            Self::Outer { .. } => "outer",
            Self::Numbers {} => "numbers",
            Self::Nulls { .. } => "nulls",
            Self::UnknownMembers {} => "unknown_members",
            Self::Missing { .. } => "missing",
            Self::TotalCount { .. } => "total_count",
            Self::Huge { .. } => "huge",
            Self::Deep { .. } => "deep",
            Self::BadHead { .. } => "bad_head",
            Self::Coding { .. } => "coding",
            Self::Echo { .. } => "echo",
            Self::InvalidUtf8 {} => "invalid_utf8",
            Self::Respell { .. } => "respell",
        }
    }

    /// Refuses values out of bounds.
    ///
    /// # Errors
    ///
    /// Says what is allowed.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Delay { ms, .. } => check_wait("ms", *ms),
            Self::Trickle { chunk, pause_ms } => {
                check_wait("pause_ms", *pause_ms)?;
                check(*chunk > 0, "`chunk` must be at least 1 byte")
            }
            Self::Html { status, .. } | Self::Empty { status, .. } => check_status(*status),
            Self::Status { status, commit, late_ms, .. } => {
                check_status(*status)?;
                check_wait("late_ms", *late_ms)?;
                check(
                    *late_ms == 0 || *commit == Commit::None,
                    "`late_ms` excludes `\"commit\": \"before\"`",
                )
            }
            Self::Lag { ms } => check_wait("ms", *ms),
            Self::Body { status, content_type, .. } => {
                check_status(*status)?;
                let legal = http::HeaderValue::from_str(content_type).is_ok();
                check(legal, "`content_type` must be a legal header value")
            }
            Self::Result { commit, late_ms, .. } => {
                check_wait("late_ms", *late_ms)?;
                check(
                    *late_ms == 0 || *commit == ResultCommit::Late,
                    "`late_ms` needs `\"commit\": \"late\"`",
                )
            }
            Self::Huge { bytes, .. } => {
                check(*bytes <= MAX_HUGE, "`bytes` must be at most 8589934592")
            }
            Self::Coding { coding } => {
                let legal = http::HeaderValue::from_str(coding).is_ok();
                check(legal, "`coding` must be a legal header value")
            }
            Self::Deep { depth } => {
                check((1..=MAX_DEPTH).contains(depth), "`depth` must be 1 to 1000000")
            }
            Self::Missing { members } => {
                check(!members.is_empty(), "`members` must name at least one member")
            }
            _ => Ok(()),
        }
    }
}

fn check(holds: bool, allowed: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(allowed.to_owned()) }
}

fn check_wait(name: &str, ms: u64) -> Result<(), String> {
    check(ms <= MAX_WAIT_MS, &format!("`{name}` must be at most {MAX_WAIT_MS}"))
}

fn check_status(status: u16) -> Result<(), String> {
    // A 1xx status is not an answer; it only precedes one.
    check((200..=999).contains(&status), "`status` must be 200 to 999")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_is_named() {
        let unknown = serde_json::from_value::<FaultKind>(json!({"kind": "?"})).unwrap_err();
        let unknown = unknown.to_string();
        let (_, known) = unknown.split_once("expected one of ").unwrap();
        let known: Vec<&str> = known.split(", ").map(|name| name.trim_matches('`')).collect();
        assert_eq!(known, KINDS);
    }
}

//! Which levers there are, and one that is in force.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::telemetry::label_values;

/// The shortest time for which a lever can be set.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest time for which a lever can be set.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

label_values! {
    /// What an operator can set.
    pub enum Lever {
        /// Writes to one backend are refused.
        ReadOnly = "read_only",
        /// Nothing is sent to the upstream of one backend, as with an open circuit.
        CircuitOpen = "circuit_open",
        /// The circuit of one backend does not open.
        CircuitClosed = "circuit_closed",
        /// Writes to all backends are refused.
        WritesFrozen = "writes_frozen",
        /// The log has another level.
        LogLevel = "log_level",
    }
}

impl Lever {
    /// Those that every backend has of its own.
    pub(super) const OF_BACKENDS: [Self; 3] =
        [Self::ReadOnly, Self::CircuitOpen, Self::CircuitClosed];
    /// Those that the process has.
    pub(super) const OF_THE_PROCESS: [Self; 2] = [Self::WritesFrozen, Self::LogLevel];
}

/// Who sets or ends a lever.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Who that is, as the audit log calls them.
    pub name: Arc<str>,
    /// Where the request came from, as text.
    pub peer: Option<Arc<str>>,
}

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How long it stays, from [`SHORTEST`] to [`LONGEST`].
    pub time: Duration,
    /// Why, as text that can be shown; may be empty.
    pub note: String,
    /// The filter of the log; only with [`Lever::LogLevel`].
    pub filter: Option<String>,
}

/// A lever that is in force.
#[derive(Debug)]
pub struct InForce {
    /// What it is.
    pub lever: Lever,
    /// The backend that it is of, unless it is of the process.
    pub backend: Option<Arc<str>>,
    /// Who has set it.
    pub operator: Arc<str>,
    /// When it was set.
    pub since: SystemTime,
    /// When it ends by itself.
    pub until: SystemTime,
    /// The same, on the clock that is not set.
    pub ends: Instant,
    /// Why, in the operator's words; may be empty.
    pub note: String,
    /// The filter of the log.
    pub filter: Option<String>,
}

impl InForce {
    pub(super) fn new(
        lever: Lever,
        backend: Option<Arc<str>>,
        operator: &Operator,
        asked: Asked,
    ) -> Self {
        let Asked { time, note, filter } = asked;
        let time = time.clamp(SHORTEST, LONGEST);
        let since = SystemTime::now();
        Self {
            lever,
            backend,
            operator: Arc::clone(&operator.name),
            since,
            until: since + time,
            ends: Instant::now() + time,
            note,
            filter,
        }
    }

    /// When it ends by itself, as text.
    #[must_use]
    pub fn until(&self) -> String {
        humantime::format_rfc3339_seconds(self.until).to_string()
    }

    /// Why it was set, as the rest of a message; empty if that was not said.
    #[must_use]
    pub fn reason(&self) -> String {
        if self.note.is_empty() { String::new() } else { format!(" ({})", self.note) }
    }

    /// How much of its time is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.ends <= now
    }

    /// All of it, for operators.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut shown = Map::new();
        let mut add = |name: &str, value: &str| shown.insert(name.to_owned(), value.into());
        add("lever", self.lever.name());
        if let Some(backend) = &self.backend {
            add("backend", backend);
        }
        if let Some(filter) = &self.filter {
            add("filter", filter);
        }
        add("operator", &self.operator);
        add("since", &humantime::format_rfc3339_seconds(self.since).to_string());
        add("until", &self.until());
        add("note", &self.note);
        Value::Object(shown)
    }
}

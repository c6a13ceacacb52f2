//! Where log lines go: stderr, as JSON or as text. Says nothing about what is logged.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use parking_lot::Mutex;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

use super::{level::Level, lines::Lines, metrics::LogMetrics, record::Form, sink::Sink};

static SINK: OnceLock<Sink> = OnceLock::new();

/// The filter of the log, and which one it is.
static FILTER: OnceLock<Filter> = OnceLock::new();

struct Filter {
    level: Level,
    /// Held while the filter changes, so that what is said here is so.
    state: Mutex<State>,
}

struct State {
    configured: String,
    /// Whether another one is in its place for a time.
    is_replaced: bool,
}

/// The longest filter that [`replace`] takes, in bytes.
pub const LONGEST_REPLACEMENT: usize = 256;

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Text where stderr is a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Most bytes of lines that wait to be written, unless configured otherwise.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// Starts logging as [`start`] does, with a default for the rest.
///
/// # Errors
///
/// As [`start`].
pub fn init(format: Format, level: &str) -> Result<(), String> {
    start(format, level, BUFFER_BYTES)
}

/// Starts logging. `level` is a level (`info`) or a filter (`info,access=warn`), and so many bytes
/// of lines may wait to be written.
///
/// A second call changes nothing and is not an error, so that every test may call it.
///
/// # Errors
///
/// When `level` is not a filter; the message names it. When no thread can be started.
pub fn start(format: Format, level: &str, buffer_bytes: usize) -> Result<(), String> {
    let filter = filter(level).map_err(|why| format!("invalid log filter {level:?}: {why}"))?;
    let is_terminal = io::stderr().is_terminal();
    let form = form(format, is_terminal);
    let sink = match SINK.get() {
        Some(sink) => sink.clone(),
        None => {
            let metrics = LogMetrics::of_the_process();
            let sink = Sink::start(io::stderr(), form, buffer_bytes, metrics);
            let sink = sink.map_err(|error| format!("the log cannot be started: {error}"))?;
            SINK.get_or_init(|| sink).clone()
        }
    };
    let handle = Level::new(filter);
    let filter = handle.clone();
    let state = Mutex::new(State { configured: level.to_owned(), is_replaced: false });
    let started = match form {
        Form::Json => {
            let lines = fmt::layer().json().event_format(Lines::new()).with_writer(sink);
            registry().with(filter).with(lines).try_init()
        }
        Form::Text => {
            // Colors are for a terminal; in a file they are noise.
            let lines = fmt::layer().with_writer(sink).with_ansi(is_terminal);
            registry().with(filter).with(lines).try_init()
        }
    };
    // An error means that a subscriber is there already: the first one stays.
    if started.is_ok() {
        let _ = FILTER.set(Filter { level: handle, state });
    }
    Ok(())
}

/// Other settings of the log, checked. The format is not among them: it stays as it was at the
/// start.
pub struct Reconfigured {
    filter: EnvFilter,
    level: String,
    buffer_bytes: usize,
}

impl Reconfigured {
    /// This level, and so many bytes of lines that may wait.
    ///
    /// # Errors
    ///
    /// As [`check`].
    pub fn new(level: &str, buffer_bytes: usize) -> Result<Self, String> {
        Ok(Self { filter: filter(level)?, level: level.to_owned(), buffer_bytes })
    }

    /// Puts them in force. A filter that is in the place of the configured one stays there until
    /// [`restore`]. The log of a process that has not called [`start`] is not the gateway's own,
    /// and stays as it is.
    pub fn put_in_force(self) {
        if let Some(sink) = SINK.get() {
            sink.resize(self.buffer_bytes);
        }
        if let Some(Filter { level, state }) = FILTER.get() {
            let mut state = state.lock();
            state.configured = self.level;
            if !state.is_replaced {
                level.replace(self.filter);
            }
        }
    }
}

/// Puts another filter in the place of the one that is configured, until [`restore`].
///
/// # Errors
///
/// As [`check_replacement`].
pub fn replace(level: &str) -> Result<(), String> {
    let (filter, Filter { level, state }) = replacement(level)?;
    let mut state = state.lock();
    state.is_replaced = true;
    level.replace(filter);
    Ok(())
}

/// Puts the filter that is configured by now back in its place.
pub fn restore() {
    let Some(Filter { level, state }) = FILTER.get() else { return };
    let mut state = state.lock();
    state.is_replaced = false;
    if let Ok(filter) = filter(&state.configured) {
        level.replace(filter);
    }
}

/// Whether [`replace`] would take this level.
///
/// # Errors
///
/// When `level` is not a filter, or one of spans or fields: the reason, without the level. When the
/// log of the process is another one.
pub fn check_replacement(level: &str) -> Result<(), String> {
    replacement(level).map(drop)
}

fn replacement(level: &str) -> Result<(EnvFilter, &'static Filter), String> {
    if level.len() > LONGEST_REPLACEMENT {
        let length = level.len();
        return Err(format!("it is {length} bytes long; the limit is {LONGEST_REPLACEMENT}"));
    }
    // Patterns of fields cost time and memory beyond their length.
    if level.contains(['[', '{']) {
        let why = "only levels and `module=level` with commas between them can be set while the \
                   gateway runs";
        return Err(why.to_owned());
    }
    let filter = filter(level)?;
    let own = FILTER.get().ok_or("the log of this process is not the gateway's own")?;
    Ok((filter, own))
}

/// How lines look.
pub(super) fn form(format: Format, is_terminal: bool) -> Form {
    match format {
        Format::Json => Form::Json,
        Format::Auto if !is_terminal => Form::Json,
        Format::Auto | Format::Text => Form::Text,
    }
}

/// Writes what has not been written yet, unless that takes too long.
pub(super) fn finish() {
    if let Some(sink) = SINK.get() {
        sink.finish();
    }
}

/// Whether [`init`] would take this level.
///
/// # Errors
///
/// When `level` is not a filter: the reason, without the level.
pub fn check(level: &str) -> Result<(), String> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    // The library takes a lone word that is not a level for the name of a module: `inof` would then
    // mean "everything of module inof and nothing else", a program that logs nothing.
    let lone = |part: &&str| !part.is_empty() && !part.contains(['=', '[']);
    let wrong = |part: &&str| part.parse::<tracing_subscriber::filter::LevelFilter>().is_err();
    if let Some(word) = level.split(',').map(str::trim).filter(lone).find(wrong) {
        return Err(format!(
            "{word:?} is not one of off, error, warn, info, debug, trace (for one module write \
             `module=debug`)"
        ));
    }
    EnvFilter::try_new(with_own_targets(level)).map_err(|error| error.to_string())
}

/// What the program calls the parts of its log. Who names the program means all of them.
const TARGETS: [&str; 11] = [
    "access",
    "auth",
    "config",
    "gateway",
    "log",
    "panic",
    "rpc",
    "start",
    "store",
    "upstream",
    "audit_log",
];

/// The filter with one for each of the program's own targets, where it has one for the program.
fn with_own_targets(level: &str) -> String {
    let own = |part: &str| {
        let (name, level) = part.split_once('=')?;
        let name = name.trim();
        (name == "profile_gateway" || name == "profile-gateway").then(|| level.to_owned())
    };
    let mut filter = Vec::new();
    for part in level.split(',') {
        match own(part) {
            Some(level) => {
                let targets = TARGETS.iter().map(|target| format!("{target}={level}"));
                filter.extend(targets.chain([format!("profile_gateway={level}")]));
            }
            None => filter.push(part.to_owned()),
        }
    }
    filter.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_succeeds_and_a_bad_level_is_an_error() {
        assert_eq!(init(Format::Text, "off"), Ok(()));
        assert_eq!(init(Format::Json, "off"), Ok(()));
        let error = init(Format::Auto, "access=loud").unwrap_err();
        assert!(error.contains("access=loud"), "{error}");
    }

    #[test]
    fn a_misspelled_level_is_not_taken_for_a_module() {
        for good in ["info", "WARN", "info,access=warn", "off", "profile_gateway=trace"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["inof", "info,wran", "access"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}

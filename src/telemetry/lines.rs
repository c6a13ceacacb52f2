//! How a log line looks as JSON.
//!
//! Every call writes one, so those of the access log are formatted by hand here; all others are
//! formatted by the library. Both are flat objects, with the same members in the same order.

use std::{
    fmt::{self, Debug, Write as _},
    time::SystemTime,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, Writer},
    },
    registry::LookupSpan,
};

use super::{record::quote, sink};

/// One JSON object per line.
pub(super) struct Lines {
    others: Format<Json>,
}

impl Lines {
    pub(super) fn new() -> Self {
        // Flat events: what reads the lines looks for `code`, not for `fields.code`.
        Self { others: Format::default().json().flatten_event(true) }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        // Only an operator who is debugging has spans, and wants to see them.
        if about.target() != sink::ACCESS || context.lookup_current().is_some() {
            return self.others.format_event(context, out, event);
        }
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        // Handed over once: each piece would pass the subscriber.
        let mut line = String::with_capacity(USUAL_LENGTH);
        write!(line, "{{\"timestamp\":\"{time}\",\"level\":\"")?;
        line.push_str(about.level().as_str());
        line.push('"');
        let mut fields = Fields(line);
        event.record(&mut fields);
        let Fields(mut line) = fields;
        line.push_str(",\"target\":");
        quote(&mut line, about.target())?;
        line.push_str("}\n");
        out.write_str(&line)
    }
}

/// What a line seldom exceeds.
const USUAL_LENGTH: usize = 512;

/// A line under way. Writing to a string cannot fail.
struct Fields(String);

impl Fields {
    fn name(&mut self, field: &Field) {
        // The names of members are words of this program.
        self.0.push_str(",\"");
        self.0.push_str(field.name());
        self.0.push_str("\":");
    }

    /// Adds a member whose value needs no quotes.
    fn bare(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.0.push_str(value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        let _ = quote(&mut self.0, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, if value { "true" } else { "false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON cannot represent NaN and the infinities.
        match value.is_finite() {
            true => self.bare(field, zmij::Buffer::new().format_finite(value)),
            false => self.bare(field, "null"),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::{fmt::layer, layer::SubscriberExt, registry};

    use super::*;
    use crate::telemetry::logs::{self, Format};

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log_one_line() {
        tracing::warn!(
            target: "access",
            method = "a.B/C",
            backend = None::<&str>,
            odd = "a \"quote\"\\ and\na line",
            debug = ?Some("é"),
            duration_ms = 0.25,
            nothing = f64::NAN,
            upstream_calls = 3_u32,
            below = -1,
            yes = true,
        );
    }

    /// What is written by hand is what the library would write, but for the time.
    #[test]
    fn an_access_line_has_the_form_of_all_others() {
        // If the only subscriber is that of one thread, tracing caches that no subscriber is
        // interested, for other threads too.
        logs::init(Format::Text, "off").unwrap();
        let (ours, theirs) = (Out::default(), Out::default());
        let writer = ours.clone();
        let lines = layer().json().event_format(Lines::new()).with_writer(move || writer.clone());
        tracing::subscriber::with_default(registry().with(lines), log_one_line);
        let writer = theirs.clone();
        let lines = layer().json().flatten_event(true).with_writer(move || writer.clone());
        tracing::subscriber::with_default(registry().with(lines), log_one_line);

        let parsed = |out: &Out| {
            let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
            let line: Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
            let mut members: Vec<_> = line.as_object().unwrap().clone().into_iter().collect();
            assert_eq!(members.remove(0).0, "timestamp");
            members
        };
        assert_eq!(parsed(&ours), parsed(&theirs));
        let timestamp = |out: &Out| out.0.lock().unwrap()[..44].to_vec();
        assert_eq!(timestamp(&ours)[..16], timestamp(&theirs)[..16]);
        assert_eq!(timestamp(&ours)[41..], timestamp(&theirs)[41..]);
    }
}

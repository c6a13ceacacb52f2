//! The registry of metrics: rooms register what they count, and the admin port reads it.
//!
//! It defines no metric but that of the build, and holds no clock: callers measure durations.

use std::{fmt, fmt::Write as _, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::text,
    metrics::{
        TypedMetric, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
        info::Info,
    },
    registry::{self, Metric},
};

use super::{exposition, exposition::Format, labels::Labels};

const PREFIX: &str = "profile_gateway";
/// What comes before the name of a backend in a line.
const LABEL: &str = "backend=\"";
/// Writes in doubt outlive the configuration of their backend.
const IN_DOUBT: &str = "profile_gateway_doubtful_writes{";

/// All metrics of the process.
pub struct Registry {
    metrics: registry::Registry,
    /// Those whose names are not the program's own.
    process: registry::Registry,
    rows: Vec<Row>,
    before_scrape: Vec<Box<dyn Fn() + Send + Sync>>,
    /// Whether a backend is not configured any more.
    is_gone: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// A metric as the reference shows it.
struct Row {
    name: String,
    kind: &'static str,
    labels: Vec<(&'static str, &'static [&'static str])>,
    help: &'static str,
}

/// A metric or a family of metrics that can be registered.
pub trait Described: Metric + TypedMetric + Clone {
    /// Its labels, each with the values that it can have where they are few.
    #[must_use]
    fn labels() -> Vec<(&'static str, &'static [&'static str])> {
        Vec::new()
    }
}

impl Described for Counter {}
impl Described for Counter<f64, AtomicU64> {}
impl Described for Gauge {}
impl Described for Gauge<f64, AtomicU64> {}
impl Described for Histogram {}

impl<L: Labels, M, C> Described for Family<L, M, C>
where
    Self: Metric + TypedMetric + Clone,
{
    fn labels() -> Vec<(&'static str, &'static [&'static str])> {
        L::describe()
    }
}

impl Registry {
    /// No metrics but that of the build. `version` is that of the program.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let mut metrics = registry::Registry::with_prefix(PREFIX);
        let info = Info::new([("version", version.to_owned())]);
        metrics.register("build", "The running program", info);
        let build = Row {
            name: format!("{PREFIX}_build_info"),
            kind: "info",
            labels: vec![("version", &[])],
            help: "The running program",
        };
        let (process, rows) = (registry::Registry::default(), vec![build]);
        let is_gone = Box::new(|_: &str| false);
        Self { metrics, process, rows, before_scrape: Vec::new(), is_gone }
    }

    /// Adds a metric. `name` is without the prefix of the program, and without the `_total` that
    /// the library appends to counters.
    pub(crate) fn register<M: Described>(
        &mut self,
        name: &'static str,
        help: &'static str,
        metric: &M,
    ) {
        self.metrics.register(name, help, metric.clone());
        self.describe::<M>(format!("{PREFIX}_{name}"), help);
    }

    /// Adds a metric without the prefix of the program.
    pub(super) fn register_of_process<M: Described>(
        &mut self,
        name: &'static str,
        help: &'static str,
        metric: &M,
    ) {
        self.process.register(name, help, metric.clone());
        self.describe::<M>(name.to_owned(), help);
    }

    fn describe<M: Described>(&mut self, name: String, help: &'static str) {
        let kind = kind::<M>();
        let suffix = if kind == "counter" { "_total" } else { "" };
        self.rows.push(Row { name: name + suffix, kind, labels: M::labels(), help });
    }

    /// Runs `measure` before each read of the metrics, for values that are measured, not counted.
    pub(crate) fn before_scrape(&mut self, measure: impl Fn() + Send + Sync + 'static) {
        self.before_scrape.push(Box::new(measure));
    }

    /// Leaves out what is counted of backends of which this is true, apart from their writes in
    /// doubt. It goes on from where it was if they come back.
    pub(crate) fn leave_out(&mut self, is_gone: impl Fn(&str) -> bool + Send + Sync + 'static) {
        self.is_gone = Box::new(is_gone);
    }

    /// All metrics as OpenMetrics.
    #[must_use]
    pub fn encode(&self) -> String {
        self.before_scrape.iter().for_each(|measure| measure());
        let mut out = String::new();
        let written = text::encode_registry(&mut out, &self.process)
            .and_then(|()| text::encode(&mut out, &self.metrics));
        if written.is_err() {
            // Writing to a string fails only when a label refuses to be written.
            tracing::error!("metrics could not be encoded");
        }
        out.split_inclusive('\n').filter(|line| !self.is_left_out(line)).collect()
    }

    fn is_left_out(&self, line: &str) -> bool {
        let backend = line.split_once(LABEL).and_then(|(_, rest)| rest.split_once('"'));
        backend.is_some_and(|(name, _)| (self.is_gone)(name) && !line.starts_with(IN_DOUBT))
    }

    /// All metrics in this format.
    #[must_use]
    pub fn encode_as(&self, format: Format) -> String {
        match format {
            Format::OpenMetrics => self.encode(),
            Format::Text => exposition::text(&self.encode()),
        }
    }

    /// The reference of all metrics, as a Markdown table.
    #[doc(hidden)]
    #[must_use]
    pub fn reference(&self) -> String {
        let mut out =
            "| Name | Type | Unit | Labels | Meaning |\n|---|---|---|---|---|\n".to_owned();
        for Row { name, kind, labels, help } in &self.rows {
            let labels: Vec<String> = labels.iter().map(shown).collect();
            let (unit, labels) = (unit(name), labels.join("; "));
            // Writing to a string cannot fail.
            let _ = writeln!(out, "| `{name}` | {kind} | {unit} | {labels} | {help}. |");
        }
        out
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

fn kind<M: TypedMetric>() -> &'static str {
    use prometheus_client::metrics::MetricType;
    match M::TYPE {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Info => "info",
        MetricType::Unknown => "unknown",
    }
}

/// The unit is the end of the name, by the convention of Prometheus.
fn unit(name: &str) -> &'static str {
    ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or_default()
}

fn shown((label, values): &(&'static str, &'static [&'static str])) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    match values.is_empty() {
        true => format!("`{label}`"),
        false => format!("`{label}`: {}", values.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::BackendLabels;

    #[test]
    fn registered_metrics_are_scraped_and_described() {
        let mut registry = Registry::new("1.2.3");
        let polls: Family<BackendLabels, Counter> = Family::default();
        registry.register("polls", "Polls", &polls);
        let polled = polls.get_or_create_owned(&BackendLabels { backend: "sft".into() });
        registry.before_scrape(move || {
            polled.inc();
        });
        let text = registry.encode();
        for line in [
            r#"profile_gateway_polls_total{backend="sft"} 1"#,
            r#"profile_gateway_build_info{version="1.2.3"} 1"#,
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        registry.leave_out(|backend| backend == "sft");
        let text = registry.encode();
        assert!(!text.contains("sft") && text.contains("polls"), "{text}");
        let row = "| `profile_gateway_polls_total` | counter |  | `backend` | Polls. |";
        assert!(registry.reference().contains(row), "{}", registry.reference());
    }
}

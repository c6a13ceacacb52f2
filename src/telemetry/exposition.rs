//! The two formats in which metrics are read: OpenMetrics, which the library writes, and the older
//! text of Prometheus, which differs in the names of types.

use std::borrow::Cow;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What Prometheus asks for first.
    OpenMetrics,
    /// The older text of Prometheus, which more tools read.
    Text,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// The one that a client wants by its `accept` header. One that does not ask for OpenMetrics
    /// gets the older text, which every tool reads.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let weight = |wanted: &str| {
            let of_range = |range: &str| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(wanted));
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                is_it.then(|| weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok()))?
            };
            accept.split(',').filter_map(of_range).fold(0.0, f32::max)
        };
        let open = weight(OPEN_METRICS);
        match open > 0.0 && open >= weight("text/plain") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// Its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics as the older text: there, a counter's type has its whole name, there are no units
/// and no infos, and nothing says where the text ends.
pub(super) fn text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let suffix = lines.peek().map_or("", |next| suffix_of_type(next));
        let line = match line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) {
            Some(("HELP", rest)) => Cow::from(described("HELP", rest, suffix)),
            Some(("TYPE", rest)) => Cow::from(described("TYPE", rest, suffix_of_type(line))),
            Some(("UNIT", _)) => continue,
            _ if line == "# EOF" => continue,
            _ => Cow::from(line),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// What the name in a line about a type lacks.
fn suffix_of_type(line: &str) -> &'static str {
    match line.strip_prefix("# TYPE ").and_then(|rest| rest.rsplit_once(' ')) {
        Some((_, "counter")) => "_total",
        Some((_, "info")) => "_info",
        _ => "",
    }
}

fn described(what: &str, rest: &str, suffix: &str) -> String {
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = if what == "TYPE" && rest == "info" { "gauge" } else { rest };
    format!("# {what} {name}{suffix} {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_ask_for_open_metrics_gets_text() {
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html, */*;q=0.8",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=1.0.0;q=0.2, text/plain;q=0.5",
            "application/openmetrics-text;q=much",
        ] {
            assert_eq!(Format::wanted(accept), Format::Text, "{accept}");
        }
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8",
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
             version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
        ] {
            assert_eq!(Format::wanted(accept), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn text_names_types_as_prometheus_did() {
        let open_metrics = "# HELP calls Calls # of all.\n# TYPE calls counter\n\
            calls_total{a=\"# EOF\"} 1\n# HELP build The program.\n# TYPE build info\n\
            build_info{version=\"1\"} 1\n# HELP time_seconds Time.\n# TYPE time_seconds histogram\n\
            # UNIT time_seconds seconds\ntime_seconds_sum 1.0\n# EOF\n";
        let expected = "# HELP calls_total Calls # of all.\n# TYPE calls_total counter\n\
            calls_total{a=\"# EOF\"} 1\n# HELP build_info The program.\n\
            # TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n# HELP time_seconds Time.\n\
            # TYPE time_seconds histogram\ntime_seconds_sum 1.0\n";
        assert_eq!(text(open_metrics), expected);
    }
}

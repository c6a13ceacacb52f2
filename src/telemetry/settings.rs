//! What can be configured of the log: the `[log]` section.

use super::logs::{self, Format};
use crate::settings::{Kind as _, Read, one_of, plain_text, settings};

settings! {
    /// How the program writes its log.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LogSettings {
        /// Form of a log line; `auto` is text on a terminal and JSON elsewhere.
        format: Format = Format::Auto, one_of(FORMATS);
        /// Log filter, such as `info` or `info,hyper=warn`.
        level: String = "info".to_owned(), plain_text(1024).checked(FILTER, |level| filter(level));
    }
}

const FORMATS: &[(&str, Format)] =
    &[("auto", Format::Auto), ("json", Format::Json), ("text", Format::Text)];

const FILTER: &str = "a `tracing` filter of 1 to 1024 printable ASCII characters";

fn filter(level: &str) -> Read<()> {
    if level.trim().is_empty() || !level.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return Err("must be a log filter such as `info` or `info,hyper=warn`, in ASCII".to_owned());
    }
    logs::check(level).map_err(|why| format!("is not a valid log filter: {why}"))
}

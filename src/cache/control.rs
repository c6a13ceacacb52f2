//! What a caller can ask of the cache: the `cache-control` directives (RFC 9111, 5.2.1) that the
//! contract lists.

use std::time::Duration;

use crate::error::{Error, Reason, Result};

/// A longer value is not a list of directives.
const MAX_BYTES: usize = 1024;
/// A `max-age` below this asks the upstream nearly each time.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// What a caller asks of the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// Read the value from the upstream for this call.
    pub no_cache: bool,
    /// The oldest value that is acceptable. An expired value never is.
    pub max_age: Option<Duration>,
    /// Do not ask the upstream.
    pub only_if_cached: bool,
    /// With `no_cache`: read it for this call alone, and share with none. No caller can ask this.
    pub alone: bool,
}

impl Control {
    /// Reads the directives. Unknown ones are ignored, as RFC 9111 requires.
    ///
    /// # Errors
    ///
    /// `MALFORMED_REQUEST` when `max-age` is not a number of seconds: a guess could serve a value
    /// that is too old.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        let mut control = Self::default();
        for value in values {
            let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= MAX_BYTES);
            let text = text.ok_or_else(|| malformed("is too long or not UTF-8"))?;
            for directive in text.split(',') {
                control.add(directive.trim())?;
            }
        }
        Ok(control)
    }

    /// Whether the upstream has to be asked although there is a value: `no-cache`, or a `max-age`
    /// of less than a second.
    #[must_use]
    pub fn asks_upstream(&self) -> bool {
        self.no_cache || self.max_age.is_some_and(|age| age < LEAST_AGE)
    }

    /// The same without that. A `max-age` of a second or more stays.
    #[must_use]
    pub fn without_asking_upstream(self) -> Self {
        let max_age = self.max_age.filter(|age| *age >= LEAST_AGE);
        Self { no_cache: false, max_age, ..self }
    }

    fn add(&mut self, directive: &str) -> Result<()> {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (directive, None),
        };
        if name.eq_ignore_ascii_case("no-cache") {
            self.no_cache = true;
        } else if name.eq_ignore_ascii_case("only-if-cached") {
            self.only_if_cached = true;
        } else if name.eq_ignore_ascii_case("max-age") {
            let digits = value
                .filter(|v| !v.is_empty() && v.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| malformed("has a max-age that is not a number of seconds"))?;
            // A number too large to count is treated as the largest (RFC 9111, 1.2.2).
            let age = Duration::from_secs(u64::from(digits.parse().unwrap_or(u32::MAX)));
            // The stricter of two values satisfies both.
            self.max_age = Some(self.max_age.map_or(age, |other| other.min(age)));
        }
        Ok(())
    }
}

fn malformed(why: &str) -> Error {
    let message = format!(
        "the metadata cache-control {why}; supported are no-cache, max-age=SECONDS and \
         only-if-cached"
    );
    Error::new(Reason::MalformedRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Control> {
        Control::parse(values.iter().map(|value| value.as_bytes())).ok()
    }

    #[test]
    fn reads_directives() {
        let control = |no_cache, max_age: Option<u64>, only_if_cached| {
            let max_age = max_age.map(Duration::from_secs);
            Some(Control { no_cache, max_age, only_if_cached, alone: false })
        };
        for (values, expected) in [
            (&[][..], control(false, None, false)),
            (&[""], control(false, None, false)),
            (&["no-cache"], control(true, None, false)),
            (&["No-Cache , MAX-AGE=7"], control(true, Some(7), false)),
            (&["max-age=9", "only-if-cached, max-age=\"3\""], control(false, Some(3), true)),
            (&["no-store, max-stale=4, x"], control(false, None, false)),
            (&["max-age=0"], control(false, Some(0), false)),
            (
                &["max-age=99999999999999999999999"],
                control(false, Some(u64::from(u32::MAX)), false),
            ),
        ] {
            assert_eq!(parse(values), expected, "{values:?}");
        }
    }

    #[test]
    fn who_may_not_ask_the_upstream_still_limits_the_age() {
        for (value, left) in [
            ("no-cache", None),
            ("max-age=0", None),
            ("no-cache, max-age=0", None),
            ("no-cache, max-age=60", Some(60)),
            ("max-age=1", Some(1)),
        ] {
            let control = parse(&[value]).unwrap().without_asking_upstream();
            assert!(!control.asks_upstream(), "{value}");
            assert_eq!(control.max_age, left.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn rejects_ambiguous_directives() {
        let long = "x".repeat(2000);
        for value in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=1s", &long] {
            assert_eq!(parse(&[value]), None, "{value:.30}");
        }
        assert!(Control::parse([&[0xff_u8][..]]).is_err());
    }
}

//! A line that is made by hand: of the audit log, or about the log itself.
//!
//! It has the form of all other lines.

use std::{
    fmt::{self, Display, Write},
    time::SystemTime,
};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// A line under way.
#[derive(Debug)]
pub struct Record {
    form: Form,
    target: &'static str,
    text: String,
}

// Writing to a string cannot fail.
impl Record {
    /// A line without members.
    pub(super) fn new(form: Form, level: &'static str, target: &'static str) -> Self {
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        let text = match form {
            Form::Json => format!("{{\"timestamp\":\"{time}\",\"level\":\"{level}\""),
            Form::Text => format!("{time} {level:>5} {target}:"),
        };
        Self { form, target, text }
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.add_text(name, value);
        self
    }

    pub(super) fn add_text(&mut self, name: &str, value: &str) {
        self.name(name);
        let _ = match self.form {
            Form::Json => quote(&mut self.text, value),
            Form::Text => write!(self.text, "{value:?}"),
        };
    }

    /// Adds a text, if there is one.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// Adds a whole number.
    #[must_use]
    pub fn number(mut self, name: &str, value: u64) -> Self {
        self.add_number(name, value);
        self
    }

    pub(super) fn add_number(&mut self, name: &str, value: u64) {
        self.bare(name, value);
    }

    /// Adds yes or no.
    #[must_use]
    pub fn flag(mut self, name: &str, value: bool) -> Self {
        self.bare(name, value);
        self
    }

    /// Adds a time in milliseconds, to the microsecond.
    #[must_use]
    pub fn milliseconds(mut self, name: &str, value: std::time::Duration) -> Self {
        let micros = value.as_micros();
        self.bare(name, format_args!("{}.{:03}", micros / 1000, micros % 1000));
        self
    }

    fn bare(&mut self, name: &str, value: impl Display) {
        self.name(name);
        let _ = write!(self.text, "{value}");
    }

    fn name(&mut self, name: &str) {
        let _ = match self.form {
            Form::Json => write!(self.text, ",\"{name}\":"),
            Form::Text => write!(self.text, " {name}="),
        };
    }

    /// How many bytes it has so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The whole line, with its end.
    pub(super) fn line(&self) -> Vec<u8> {
        let Self { form, target, text } = self;
        match form {
            Form::Json => format!("{text},\"target\":\"{target}\"}}\n").into_bytes(),
            Form::Text => format!("{text}\n").into_bytes(),
        }
    }
}

/// A JSON string. Nearly all are names that need no escaping.
pub(super) fn quote(out: &mut impl Write, value: &str) -> fmt::Result {
    // Without an end before the end, which lets the compiler look at many bytes at once.
    let is_special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\');
    if value.bytes().fold(false, |before, byte| before | is_special(byte)) {
        return out.write_str(&serde_json::Value::from(value).to_string());
    }
    out.write_char('"')?;
    out.write_str(value)?;
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(form: Form) -> String {
        let record = Record::new(form, "INFO", "audit")
            .text("odd", "a \"quote\"\nand\u{2028}a line")
            .maybe("nothing", None)
            .number("calls", 3)
            .flag("yes", true)
            .milliseconds("duration_ms", Duration::from_micros(12_034));
        String::from_utf8(record.line()).unwrap()
    }

    #[test]
    fn a_line_is_one_flat_object() {
        let text = line(Form::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let members = value.as_object_mut().unwrap();
        assert!(members.remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "level": "INFO", "odd": "a \"quote\"\nand\u{2028}a line", "calls": 3, "yes": true,
            "duration_ms": 12.034, "target": "audit",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_text_stays_on_its_line_for_people_too() {
        let text = line(Form::Text);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let end = "  INFO audit: odd=\"a \\\"quote\\\"\\nand\\u{2028}a line\" calls=3 yes=true \
                   duration_ms=12.034\n";
        assert!(text.ends_with(end), "{text}");
    }
}

//! From one raw value to one typed value: text, durations, byte sizes, counts.
//!
//! Each reader gives the reason for a refusal as the rest of a sentence that begins with the key:
//! "must be a string, got an integer". None of them is for secrets: some repeat the value.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use serde_json::Value as Json;

use super::{
    error::{Origin, quoted},
    node::{Node, Value},
};

/// A value, or why it cannot be read as the rest of a sentence that begins with the key.
pub(crate) type Read<T> = Result<T, String>;

/// A type of whole numbers.
pub(crate) trait Number: Copy + Display + PartialOrd + TryFrom<i128> + Into<Json> {}

impl<N> Number for N where N: Copy + Display + PartialOrd + TryFrom<i128> + Into<Json> {}

/// Plain text that is not empty, not longer than `max` characters and free of control characters.
pub(super) fn text(node: &Node, max: usize) -> Read<&str> {
    let Value::Text(text) = &node.value else {
        return Err(format!("must be a string, got {}", node.value.kind()));
    };
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().nth(max).is_some() {
        return Err(format!("must not be longer than {max} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text)
}

/// A duration with its unit, within bounds.
pub(super) fn duration(node: &Node, bounds: &RangeInclusive<Duration>) -> Read<Duration> {
    let text = match &node.value {
        Value::Text(text) => text.trim(),
        Value::Integer(number) => {
            return Err(needs_unit(node, &number.map_or("45".to_owned(), |n| n.to_string())));
        }
        other => {
            let got = other.kind();
            return Err(format!("must be a duration such as `45s`, got {got}"));
        }
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(needs_unit(node, text));
    }
    let duration = humantime::parse_duration(text).map_err(|_| {
        let got = quoted(text);
        format!("must be a duration such as `500ms`, `45s` or `1m 30s`, got {got}")
    })?;
    within(duration, bounds, show_duration)
}

pub(super) fn show_duration(duration: &Duration) -> String {
    humantime::format_duration(*duration).to_string()
}

fn needs_unit(node: &Node, number: &str) -> String {
    let example = match node.origin {
        // A variable's value is the text itself.
        Origin::Env(_) => quoted(&format!("{number}s")),
        Origin::File { .. } => quoted(&format!("\"{number}s\"")),
    };
    format!("needs a unit, write {example} for seconds")
}

/// A whole number. From the environment, where everything is text, it is read from text.
pub(super) fn count<N: Number>(node: &Node, bounds: &RangeInclusive<N>) -> Read<N> {
    let number = match &node.value {
        Value::Integer(number) => number.ok_or_else(|| too_large(bounds))?,
        Value::Text(text) if matches!(node.origin, Origin::Env(_)) => text
            .trim()
            .parse()
            .map_err(|_| format!("must be a whole number, got {}", quoted(text)))?,
        other => return Err(format!("must be a whole number, got {}", other.kind())),
    };
    whole_within(number, bounds, N::to_string)
}

/// `true` or `false`. From the environment, where everything is text, it is read from text.
pub(super) fn flag(node: &Node) -> Read<bool> {
    match &node.value {
        Value::Flag(flag) => Ok(*flag),
        Value::Text(text) if matches!(node.origin, Origin::Env(_)) => text
            .trim()
            .parse()
            .map_err(|_| format!("must be `true` or `false`, got {}", quoted(text))),
        other => Err(format!("must be true or false, got {}", other.kind())),
    }
}

/// A number of bytes: an integer, or text with a binary unit.
pub(super) fn bytes(node: &Node, bounds: &RangeInclusive<usize>) -> Read<usize> {
    let number = match &node.value {
        Value::Integer(number) => number.ok_or_else(|| too_large(bounds))?,
        Value::Text(text) => parse_bytes(text).ok_or_else(|| {
            let got = quoted(text);
            format!("must be a number of bytes such as 4096, `512KiB` or `8MiB`, got {got}")
        })?,
        other => {
            let got = other.kind();
            return Err(format!("must be a number of bytes such as `8MiB`, got {got}"));
        }
    };
    whole_within(number, bounds, show_bytes)
}

/// Decimal units (`MB`) are refused: some mean 10^6 by them and some 2^20.
fn parse_bytes(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = match text.strip_prefix(digits)?.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1024,
        "mib" => 1024 * 1024,
        "gib" => 1024 * 1024 * 1024,
        _ => return None,
    };
    // What does not fit is far above every bound, and is reported as such.
    let number: i128 = digits.parse().unwrap_or(i128::MAX);
    Some(number.saturating_mul(unit))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape of a formatter for any bound")]
pub(crate) fn show_bytes(bytes: &usize) -> String {
    match *bytes {
        bytes if bytes > 0 && bytes % (1 << 30) == 0 => format!("{}GiB", bytes >> 30),
        bytes if bytes > 0 && bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes if bytes > 0 && bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        bytes => bytes.to_string(),
    }
}

fn whole_within<N: Number>(
    number: i128,
    bounds: &RangeInclusive<N>,
    show: impl Fn(&N) -> String,
) -> Read<N> {
    match N::try_from(number) {
        Ok(number) => within(number, bounds, show),
        Err(_) => Err(out_of(bounds, show, number)),
    }
}

fn within<T: PartialOrd>(
    value: T,
    bounds: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Read<T> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    let got = show(&value);
    Err(out_of(bounds, show, got))
}

fn out_of<T>(bounds: &RangeInclusive<T>, show: impl Fn(&T) -> String, got: impl Display) -> String {
    let (least, most) = (show(bounds.start()), show(bounds.end()));
    format!("must be between {least} and {most}, got {got}")
}

/// The bounds as the reference names them.
pub(super) fn range<T>(bounds: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> String {
    format!("{} to {}", show(bounds.start()), show(bounds.end()))
}

fn too_large<N: Number>(bounds: &RangeInclusive<N>) -> String {
    format!("must not be above {}", bounds.end())
}

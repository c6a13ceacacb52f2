//! Whole numbers as upstreams write them in JSON.

/// How far an exponent may move a decimal point; a number beyond it is no id and no count.
const MAX_EXPONENT: i32 = 64;

/// A whole number in any of JSON's spellings (`39`, `39.0`, `3.9e1`), also in a string, in its
/// shortest form; `None` for anything else.
#[must_use]
pub fn whole(json: &str) -> Option<String> {
    if !json.starts_with('"') {
        return digits(json);
    }
    let text: String = serde_json::from_str(json).ok()?;
    digits(text.trim())
}

/// A trimmed string, or a number in place of a string of digits: in the shortest form if it is
/// whole, or else as it is written.
#[must_use]
pub fn scalar(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => plain(json)
            .map(|text| text.trim().to_owned())
            .or_else(|| serde_json::from_str(json).ok().map(|text: String| text.trim().to_owned())),
        b'-' | b'0'..=b'9' => Some(digits(json).unwrap_or_else(|| json.to_owned())),
        _ => None,
    }
}

/// The text of a string that needs no unescaping, as most.
fn plain(json: &str) -> Option<&str> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = |byte: u8| !matches!(byte, b'"' | b'\\' | ..b' ');
    text.bytes().all(is_plain).then_some(text)
}

/// A whole number in its shortest form.
pub(super) fn digits(number: &str) -> Option<String> {
    let (sign, size) = match number.strip_prefix('-') {
        Some(size) => ("-", size),
        None => ("", number),
    };
    let (mantissa, exponent) = size.split_once(['e', 'E']).unwrap_or((size, "0"));
    let exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() <= MAX_EXPONENT)?;
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let mut all = format!("{whole}{fraction}");
    if whole.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let point = usize::try_from(point).unwrap_or(0);
    if point > all.len() {
        all.push_str(&"0".repeat(point - all.len()));
    }
    let (whole, rest) = all.split_at_checked(point)?;
    // A negative point has only zeros before all digits.
    if rest.bytes().any(|b| b != b'0') {
        return None;
    }
    match whole.trim_start_matches('0') {
        "" => Some("0".to_owned()),
        whole => Some(format!("{sign}{whole}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_one_form() {
        for (json, expected) in [
            ("39", Some("39")),
            ("39.0", Some("39")),
            ("3.9e1", Some("39")),
            ("3.9E+1", Some("39")),
            ("3900e-2", Some("39")),
            ("0.39e2", Some("39")),
            ("\" 039 \"", Some("39")),
            ("\"3.9e1\"", Some("39")),
            ("-7.0", Some("-7")),
            ("0", Some("0")),
            ("-0.0", Some("0")),
            ("0e5", Some("0")),
            ("0.0e-9", Some("0")),
            ("1e20", Some("100000000000000000000")),
            ("9007199254740993.0", Some("9007199254740993")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("39.5", None),
            ("39e-1", None),
            ("1e-9", None),
            ("1e400", None),
            ("1e99999999999", None),
            ("\"\"", None),
            ("\"1.\"", None),
            ("\".5\"", None),
            ("\"0x27\"", None),
            ("\"+39\"", None),
            ("\"\\ud800\"", None),
            ("true", None),
            ("null", None),
            ("[39]", None),
        ] {
            assert_eq!(whole(json).as_deref(), expected, "{json}");
        }
        for (json, expected) in
            [("\" a \"", Some("a")), ("1331.0", Some("1331")), ("1.5", Some("1.5")), ("{}", None)]
        {
            assert_eq!(scalar(json).as_deref(), expected, "{json}");
        }
    }
}

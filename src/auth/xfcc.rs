//! `x-forwarded-client-cert`: what a proxy says of the certificate that its client has shown.
//!
//! The grammar is Envoy's: elements with commas between them, one for each proxy on the way, the
//! nearest last; in an element pairs `Key=Value` with semicolons between; a value with any of these
//! characters is in double quotes, and a quote in it is written `\"`. Whether the proxy may say it
//! is not decided here.

use std::borrow::Cow;

use super::spiffe;

/// The longest header.
const MAX_BYTES: usize = 8 * 1024;
/// The most proxies on the way.
const MAX_ELEMENTS: usize = 8;
/// The most pairs of an element.
const MAX_PAIRS: usize = 32;

/// Why a header is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer, or with more parts, than any proxy would send.
    #[error("x-forwarded-client-cert is too long")]
    TooLong,
    /// Not of the grammar.
    #[error("x-forwarded-client-cert is malformed")]
    Grammar,
    /// No `URI`, or more than one, or not a SPIFFE id.
    #[error("x-forwarded-client-cert does not have exactly one SPIFFE id")]
    NoIdentity,
}

/// The SPIFFE id in the element of the nearest proxy.
///
/// # Errors
///
/// When the header is not of the grammar, or that element does not have exactly one. A fault in
/// another element refuses the whole header: where one ends and the next begins cannot be trusted
/// any more.
pub fn spiffe_id(header: &[u8]) -> Result<String, Malformed> {
    if header.len() > MAX_BYTES {
        return Err(Malformed::TooLong);
    }
    let header = std::str::from_utf8(header).map_err(|_| Malformed::Grammar)?;
    if header.chars().any(char::is_control) {
        return Err(Malformed::Grammar);
    }
    let mut nearest = None;
    for (count, element) in split(header, ',')?.into_iter().enumerate() {
        if count >= MAX_ELEMENTS {
            return Err(Malformed::TooLong);
        }
        nearest = Some(uris(element)?);
    }
    match nearest.as_deref() {
        Some([uri]) if spiffe::is_id(uri) => Ok(uri.to_string()),
        _ => Err(Malformed::NoIdentity),
    }
}

/// The values of the `URI` pairs of an element.
fn uris(element: &str) -> Result<Vec<Cow<'_, str>>, Malformed> {
    let mut uris = Vec::new();
    for (count, pair) in split(element, ';')?.into_iter().enumerate() {
        if count >= MAX_PAIRS {
            return Err(Malformed::TooLong);
        }
        let (key, value) = pair.trim().split_once('=').ok_or(Malformed::Grammar)?;
        let value = unquoted(value)?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Malformed::Grammar);
        }
        if key.eq_ignore_ascii_case("uri") {
            uris.push(value);
        }
    }
    Ok(uris)
}

/// The parts between separators that are not in quotes.
fn split(text: &str, separator: char) -> Result<Vec<&str>, Malformed> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' if !escaped => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(text.get(begin..at).unwrap_or_default());
                begin = at + 1;
            }
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
    }
    parts.push(text.get(begin..).unwrap_or_default());
    if quoted { Err(Malformed::Grammar) } else { Ok(parts) }
}

/// A value without its quotes.
fn unquoted(value: &str) -> Result<Cow<'_, str>, Malformed> {
    let Some(rest) = value.strip_prefix('"') else {
        return match value.contains('"') {
            true => Err(Malformed::Grammar),
            false => Ok(value.into()),
        };
    };
    let inner = rest.strip_suffix('"').ok_or(Malformed::Grammar)?;
    let (mut plain, mut escaped) = (String::with_capacity(inner.len()), false);
    for character in inner.chars() {
        match character {
            '\\' if !escaped => escaped = true,
            // An end within the value: what follows is not part of it.
            '"' if !escaped => return Err(Malformed::Grammar),
            _ => {
                if escaped && !matches!(character, '"' | '\\') {
                    plain.push('\\');
                }
                plain.push(character);
                escaped = false;
            }
        }
    }
    if escaped { Err(Malformed::Grammar) } else { Ok(plain.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "spiffe://example.org/ns/a/sa/app";

    #[test]
    fn the_nearest_proxy_says_who_it_is() {
        for header in [
            format!("URI={ID}"),
            format!("uri={ID}"),
            format!("By=spiffe://example.org/x/y;Hash=0f;Subject=\"\";URI={ID}"),
            format!("By=spiffe://b/c;URI=\"{ID}\""),
            format!("URI=spiffe://example.org/far,By=x;URI={ID}"),
            format!("Subject=\"CN=a,OU=\\\"b;c\\\",URI=spiffe://x/y\";URI={ID}"),
            format!("Subject=\"ends with \\\\\";URI={ID}"),
            format!("URI={ID};DNS=a.example;DNS=b.example"),
            format!("Hash=1, URI={ID}"),
        ] {
            assert_eq!(spiffe_id(header.as_bytes()).as_deref(), Ok(ID), "{header}");
        }
    }

    #[test]
    fn whatever_is_not_exactly_one_id_of_the_grammar_is_no_identity() {
        let malformed = [
            "URI".to_owned(),
            String::new(),
            format!("URI={ID};"),
            format!("URI={ID},"),
            format!("URI=\"{ID}"),
            format!("URI={ID}\""),
            format!("URI=\"{ID}\"x\""),
            format!("URI={ID}\n"),
            format!("=x;URI={ID}"),
            format!("a b=x;URI={ID}"),
            format!("URI=\"{ID}\\\""),
            format!("\u{e9}={ID}"),
            // In an element that does not count.
            format!("garbage,URI={ID}"),
            format!(",URI={ID}"),
            format!("Subject=\"a,URI={ID}"),
        ];
        for header in malformed {
            assert_eq!(spiffe_id(header.as_bytes()), Err(Malformed::Grammar), "{header}");
        }
        let anonymous = [
            format!("URI={ID};URI={ID}"),
            format!("URI={ID},By=spiffe://example.org/proxy"),
            format!("Subject=\"URI={ID}\";Hash=1"),
            "URI=https://example.org/ns/a".to_owned(),
            "URI=spiffe://example.org".to_owned(),
            "URI=spiffe://example.org/".to_owned(),
            "URI=spiffe://example.org/a/../b".to_owned(),
            "URI=spiffe://example.org/a//b".to_owned(),
            "URI=spiffe://Example.org/a".to_owned(),
            "URI=spiffe:///a".to_owned(),
            "URI=spiffe://u@example.org/a".to_owned(),
            "URI=spiffe://example.org:8/a".to_owned(),
            "URI=spiffe://example.org/a%2fb".to_owned(),
            format!("URI=spiffe://example.org/{}", "a".repeat(2048)),
            "URI=".to_owned(),
        ];
        for header in anonymous {
            assert_eq!(spiffe_id(header.as_bytes()), Err(Malformed::NoIdentity), "{header}");
        }
        let long = format!("Hash={};URI={ID}", "0".repeat(MAX_BYTES));
        let elements = format!("URI={ID},").repeat(MAX_ELEMENTS) + &format!("URI={ID}");
        let pairs = "Hash=1;".repeat(MAX_PAIRS) + &format!("URI={ID}");
        for header in [long, elements, pairs] {
            assert_eq!(spiffe_id(header.as_bytes()), Err(Malformed::TooLong), "{header:.80}");
        }
        assert_eq!(spiffe_id(b"URI=\xff"), Err(Malformed::Grammar));
    }
}

//! SPIFFE ids: how certificates name workloads.

/// Most bytes of an id (SPIFFE-ID, section 2.3).
const MAX_ID_BYTES: usize = 2048;
/// Most bytes of the name of a trust domain.
pub(crate) const MAX_DOMAIN_BYTES: usize = 255;
const SCHEME: &str = "spiffe://";

/// Whether a text is the SPIFFE id of a workload (SPIFFE-ID, section 2).
#[must_use]
pub fn is_id(text: &str) -> bool {
    let Some((domain, path)) = parts(text) else { return false };
    text.len() <= MAX_ID_BYTES && is_trust_domain(domain) && path.split('/').all(is_segment)
}

/// Whether a text is the name of a trust domain (SPIFFE-ID, section 2.1).
#[must_use]
pub fn is_trust_domain(text: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    (1..=MAX_DOMAIN_BYTES).contains(&text.len()) && text.bytes().all(fits)
}

/// The trust domain of an id, or of a pattern.
#[must_use]
pub fn trust_domain(id: &str) -> Option<&str> {
    parts(id).map(|(domain, _)| domain)
}

/// The trust domain of an id and the rest after its slash.
fn parts(id: &str) -> Option<(&str, &str)> {
    id.strip_prefix(SCHEME)?.split_once('/')
}

fn is_segment(segment: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(fits)
}

/// What a pattern looks like.
pub(super) const PATTERN: &str = "`spiffe://DOMAIN/PATH`, which may end with `/*`";

/// Whether a text means one id, or with `/*` at its end all that begin so.
pub(super) fn is_pattern(text: &str) -> bool {
    match text.strip_suffix("/*") {
        Some(begin) => begin.strip_prefix(SCHEME).is_some_and(is_trust_domain) || is_id(begin),
        None => is_id(text),
    }
}

/// How much of an id a pattern says, if it means it; one without `/*` says most.
pub(super) fn extent(pattern: &str, id: &str) -> Option<usize> {
    match pattern.strip_suffix('*') {
        Some(begin) => (id.len() > begin.len() && id.starts_with(begin)).then_some(begin.len()),
        None => (pattern == id).then_some(usize::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_workloads_count() {
        for id in ["spiffe://example.org/a", "spiffe://example.org/ns/a/sa/b.c_d-E", "spiffe://a/1"]
        {
            assert!(is_id(id) && is_pattern(id), "{id}");
        }
        let long = format!("spiffe://example.org/{}", "a".repeat(MAX_ID_BYTES));
        for other in [
            "",
            "https://example.org/a",
            "SPIFFE://example.org/a",
            "spiffe://Example.org/a",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe:///a",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/./a",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org:1/a",
            "spiffe://me@example.org/a",
            "spiffe://example.org/\u{e9}",
            &long,
        ] {
            assert!(!is_id(other) && !is_pattern(other), "{other}");
        }
    }

    #[test]
    fn a_pattern_means_whole_segments() {
        for pattern in ["spiffe://example.org/*", "spiffe://example.org/ns/a/*"] {
            assert!(is_pattern(pattern) && !is_id(pattern), "{pattern}");
        }
        for other in ["*", "spiffe://*", "spiffe:///*", "spiffe://a/b*", "spiffe://a/*/b"] {
            assert!(!is_pattern(other), "{other}");
        }
        for (pattern, id, expected) in [
            ("spiffe://a/b", "spiffe://a/b", Some(usize::MAX)),
            ("spiffe://a/b", "spiffe://a/b/c", None),
            ("spiffe://a/b/*", "spiffe://a/b/c", Some(13)),
            ("spiffe://a/b/*", "spiffe://a/b/", None),
            ("spiffe://a/b/*", "spiffe://a/bc/d", None),
            ("spiffe://a/*", "spiffe://a.b/c", None),
        ] {
            assert_eq!(extent(pattern, id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn a_trust_domain_is_the_whole_name() {
        assert_eq!(trust_domain("spiffe://example.org/a"), Some("example.org"));
        assert_eq!(trust_domain("spiffe://example.org.evil/a"), Some("example.org.evil"));
        assert_eq!(trust_domain("spiffe://example.org/*"), Some("example.org"));
        assert_eq!(trust_domain("example.org/a"), None);
        assert!(is_trust_domain("example.org") && !is_trust_domain(&"a".repeat(256)));
    }
}

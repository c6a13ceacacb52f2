//! Escapes of URLs, of HTML, and of JSON, as an upstream may have written a text with them.

/// How often a text may have been escaped.
pub(super) const ESCAPES: usize = 3;

/// The bytes that an escape at the beginning stands for, and its length.
pub(super) fn escape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let hex = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let utf8 = |c: u32| Some(char::from_u32(c)?.to_string().into_bytes());
    match text {
        [b'%', b'u' | b'U', digits @ ..] => Some((utf8(hex(digits.get(..4)?)?)?, 6)),
        [b'\\', b'u' | b'U', b'{', rest @ ..] => {
            let end = rest.iter().take(7).position(|b| *b == b'}')?;
            Some((utf8(hex(rest.get(..end)?)?)?, end + 4))
        }
        [b'%', a, b, ..] if a.is_ascii_hexdigit() => {
            Some((vec![u8::try_from(hex(&[*a, *b])?).ok()?], 3))
        }
        [b'\\', b'u' | b'U', digits @ ..] => Some((utf8(hex(digits.get(..4)?)?)?, 6)),
        [b'\\', b'x' | b'X', digits @ ..] => Some((utf8(hex(digits.get(..2)?)?)?, 4)),
        [b'\\', c @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some((vec![*c], 2)),
        [b'&', rest @ ..] => {
            let end = rest.iter().take(10).position(|b| *b == b';')?;
            let name = std::str::from_utf8(rest.get(..end)?).ok()?.to_ascii_lowercase();
            let number = |digits: &str| match digits.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => digits.parse().ok(),
            };
            let c = match name.strip_prefix('#') {
                Some(digits) => utf8(number(digits)?)?,
                None => vec![named(&name)?],
            };
            Some((c, end + 2))
        }
        _ => None,
    }
}

/// The characters of credentials that have a name in HTML.
fn named(entity: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 17] = [
        ("amp", b'&'),
        ("lt", b'<'),
        ("gt", b'>'),
        ("quot", b'"'),
        ("apos", b'\''),
        ("plus", b'+'),
        ("equals", b'='),
        ("sol", b'/'),
        ("bsol", b'\\'),
        ("colon", b':'),
        ("lowbar", b'_'),
        ("period", b'.'),
        ("num", b'#'),
        ("dollar", b'$'),
        ("percnt", b'%'),
        ("excl", b'!'),
        ("commat", b'@'),
    ];
    NAMES.iter().find(|(name, _)| *name == entity).map(|(_, byte)| *byte)
}

//! Rust source with comments and the insides of literals blanked out, so that what is left is code.

/// Keeps every byte's place and every line break.
pub(super) fn blank(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let (code, blanked) = next(rest, out.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        out.push_str(&rest[..code]);
        let hidden = &rest[code..code + blanked];
        out.extend(hidden.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = &rest[code + blanked..];
    }
    out
}

/// How many bytes at the beginning are code, and how many after those are not.
fn next(rest: &str, after_name: bool) -> (usize, usize) {
    if rest.starts_with("//") {
        return (0, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (0, block_comment(rest));
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return (1, string(inside));
    }
    let raw = rest.strip_prefix("br").or(rest.strip_prefix('r')).filter(|_| !after_name);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(inside) = raw[hashes..].strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let length = inside.find(&end).unwrap_or(inside.len());
            return (0, rest.len() - inside.len() + (length + end.len()).min(inside.len()));
        }
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        return (1, character(inside));
    }
    (rest.chars().next().map_or(0, char::len_utf8), 0)
}

// Nested, as Rust has them.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The inside of a string with its closing quote.
fn string(inside: &str) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

/// The inside of a character literal with its closing quote; nothing for a lifetime.
fn character(inside: &str) -> usize {
    let mut chars = inside.char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escape))) => {
            let after = at + escape.len_utf8();
            inside[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

#[test]
fn only_code_is_left() {
    for (source, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("x\"y", z)"#, r#"f("     , z)"#),
        ("f(r#\"x\"y\"#, z)", "f(        , z)"),
        (r"f('\'', '\\', 'a', &'a b)", r"f('   , '   , '  , &'a b)"),
        ("for x in 'é'..'ü' {}", "for x in '   ..'    {}"),
        ("bar\"x\" r2", "bar\"   r2"),
    ] {
        assert_eq!(blank(source), code, "{source}");
        assert_eq!(blank(source).len(), source.len());
    }
}

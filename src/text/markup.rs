//! Text without HTML, however it is escaped.

use super::invisible::is_invisible;

/// What only a page has, or what a browser would run.
const PAGE: [&str; 12] = [
    "<!doctype",
    "<html",
    "<?xml",
    "<head",
    "<body",
    "<script",
    "<style",
    "<iframe",
    "<svg",
    "<object",
    "</",
    "/>",
];

/// How often a text may have been escaped.
const ESCAPES: usize = 4;

/// The text without tags, comments and invisible characters; `None` if it is a page.
pub(super) fn without(text: &str) -> Option<String> {
    let mut text: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    for _ in 0..ESCAPES {
        let unescaped = unescaped(&text);
        if unescaped == text {
            break;
        }
        text = unescaped.chars().filter(|c| !is_invisible(*c)).collect();
    }
    let lower = text.to_ascii_lowercase();
    if PAGE.iter().any(|tag| lower.contains(tag)) {
        return None;
    }
    Some(stripped(&text))
}

/// One level of escapes undone, of the characters that matter here.
fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['&', '%', '\\']) {
        let (before, after) = rest.split_at(at);
        result.push_str(before);
        if let Some((c, length)) = escape(after) {
            result.push(c);
            rest = after.get(length..).unwrap_or_default();
        } else {
            let mut chars = after.chars();
            result.extend(chars.next());
            rest = chars.as_str();
        }
    }
    result.push_str(rest);
    result
}

/// The character that an escape at the beginning stands for, and the escape's length.
fn escape(text: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 5] =
        [("lt", '<'), ("gt", '>'), ("amp", '&'), ("quot", '"'), ("apos", '\'')];
    const OTHERS: [(&str, char); 8] = [
        ("%3c", '<'),
        ("%3e", '>'),
        ("%26", '&'),
        ("%25", '%'),
        ("\\u003c", '<'),
        ("\\u003e", '>'),
        ("\\x3c", '<'),
        ("\\x3e", '>'),
    ];
    let lower = text.chars().take(16).collect::<String>().to_ascii_lowercase();
    if let Some((escape, c)) = OTHERS.iter().find(|(escape, _)| lower.starts_with(escape)) {
        return Some((*c, escape.len()));
    }
    let entity = lower.strip_prefix('&')?;
    // Browsers take these without the semicolon too.
    let semicolon = |length| lower.get(length..).is_some_and(|rest| rest.starts_with(';'));
    let closed = |length: usize| length + usize::from(semicolon(length));
    if let Some((name, c)) = NAMES.iter().find(|(name, _)| entity.starts_with(name)) {
        return Some((*c, closed(1 + name.len())));
    }
    let number = entity.strip_prefix('#')?;
    let (digits, radix, start) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16, 3),
        None => (number, 10, 2),
    };
    let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let code = u32::from_str_radix(digits.get(..length)?, radix).ok()?;
    Some((char::from_u32(code)?, closed(start + length)))
}

/// The text without tags and comments. What opens one and does not close it goes to the end.
fn stripped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        result.push_str(before);
        let next = after.chars().nth(1);
        // As browsers tell a tag from a comparison.
        if next.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            result.push(' ');
            rest = after.get(end(after)..).unwrap_or_default();
        } else {
            result.push('<');
            rest = after.get(1..).unwrap_or_default();
        }
    }
    result.push_str(rest);
    result
}

/// The length of the tag or comment at the beginning.
fn end(text: &str) -> usize {
    if text.starts_with("<!--") {
        return text.find("-->").map_or(text.len(), |at| at + 3);
    }
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '>' => return at + 1,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let words = without(text)?;
        Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn tags_and_comments_go_and_comparisons_stay() {
        for (text, expected) in [
            ("volume < 5 GB", "volume < 5 GB"),
            ("volume &lt; 5 GB", "volume < 5 GB"),
            ("1 <2 and 3> 2, a <= b, <- c", "1 <2 and 3> 2, a <= b, <- c"),
            ("100% & more", "100% & more"),
            ("a<br>b", "a b"),
            ("a<BR clear='>'>b", "a b"),
            ("before <img src=x onerror=alert(1)> after", "before after"),
            ("before <img src=x onerror=alert(1)", "before"),
            ("before <img alt=\"> after", "before"),
            ("a <!-- b > c --> d", "a d"),
            ("a <!-- b", "a"),
            ("a <!x> b <?php c", "a b"),
            ("a &lt;img src=x&gt; b", "a b"),
            ("a &LT;img src=x&GT b", "a b"),
            ("a &#60;img src=x&#62; b", "a b"),
            ("a &#x3C;img src=x&#x0003e b", "a b"),
            ("a &amp;lt;img src=x&amp;gt; b", "a b"),
            ("a %3Cimg src=x%3E b", "a b"),
            ("a \\u003cimg src=x\\u003e b", "a b"),
            ("a <\u{200b}img src=x> b", "a b"),
            ("a <\u{202e}b> c", "a c"),
            ("\u{e9} < \u{e9}", "\u{e9} < \u{e9}"),
            ("&#xd800; &#99999999999; &; &#;", "&#xd800; &#99999999999; &; &#;"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn pages_and_scripts_are_dropped() {
        for text in [
            "<html>x",
            "a <script>alert(1)",
            "a &lt;script&gt;alert(1)",
            "a &amp;lt;SCRIPT src=x",
            "a <b>c</b>",
            "a <br/> b",
            "a %3Cscript%3E b",
            "a \\u003cscript b",
            "<\u{feff}script>",
        ] {
            assert_eq!(without(text), None, "{text}");
        }
    }
}

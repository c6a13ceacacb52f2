//! Output as a document shows it against output as it is.
//!
//! `…` in a line stands for any text of that line, and a line that is `…` alone for any number of
//! lines.

/// Stands for what differs from run to run.
const ANY: char = '…';

fn is_any(line: &str) -> bool {
    line.trim() == "…"
}

/// Whether the output is what is shown.
pub(super) fn matches(shown: &[String], actual: &[String]) -> bool {
    match shown.split_first() {
        None => actual.is_empty(),
        Some((first, rest)) if is_any(first) => {
            (0..=actual.len()).any(|skipped| matches(rest, &actual[skipped..]))
        }
        Some((first, rest)) => actual
            .split_first()
            .is_some_and(|(line, more)| is_like(first, line) && matches(rest, more)),
    }
}

/// Whether a line is what is shown.
fn is_like(shown: &str, actual: &str) -> bool {
    let mut parts = shown.trim_end().split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = actual.trim_end().strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// What to show from now on: the actual lines, with what is shown of them where that still fits.
pub(super) fn refreshed(shown: &[String], actual: &[String]) -> Vec<String> {
    let wild: Vec<&String> =
        shown.iter().filter(|line| line.contains(ANY) && !is_any(line)).collect();
    let keep = |line: &String| {
        let shown = wild.iter().find(|shown| is_like(shown, line));
        shown.map_or_else(|| line.clone(), |&shown| shown.clone())
    };
    actual.iter().map(keep).collect()
}

/// Both, line by line: `-` is shown, `+` is there.
pub(super) fn difference(shown: &[String], actual: &[String]) -> String {
    let alike = |(shown, actual): &(&String, &String)| is_like(shown, actual);
    let head = shown.iter().zip(actual).take_while(alike).count();
    let tail =
        shown[head..].iter().rev().zip(actual[head..].iter().rev()).take_while(alike).count();
    let lines = |sign: &'static str, lines: &[String]| {
        lines.iter().map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    let same = |lines: &[String]| -> String {
        let shown = lines.iter().map(|line| format!("  {line}\n"));
        shown.collect()
    };
    same(&actual[..head])
        + &lines("-", &shown[head..shown.len() - tail])
        + &lines("+", &actual[head..actual.len() - tail])
        + &same(&actual[actual.len() - tail..])
}

#[cfg(test)]
fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    for (shown, actual, same) in [
        ("a\nb", "a\nb", true),
        ("a\nb", "a", false),
        ("id …", "id 7", true),
        ("id …,x", "id 7,y,x", true),
        ("id …,x", "id 7,y", false),
        ("…a…b…", "xaxbx", true),
        ("a\n…\nz", "a\nb\nc\nz", true),
        ("a\n…", "a", true),
        ("a\n…\nz", "a\nb", false),
        ("a.c", "abc", false),
    ] {
        assert_eq!(matches(&lines(shown), &lines(actual)), same, "{shown} {actual}");
    }
}

#[test]
fn what_still_fits_is_kept() {
    let shown = lines("etag …\nname old\ngone …");
    assert_eq!(refreshed(&shown, &lines("etag 7\nname new")), lines("etag …\nname new"));
}

#[test]
fn a_difference_shows_both() {
    let told = difference(&lines("a\nb …\nc\nz"), &lines("a\nb 1\nd\ne\nz"));
    assert_eq!(told, "  a\n  b 1\n- c\n+ d\n+ e\n  z\n");
}

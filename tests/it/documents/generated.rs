//! Parts of documents that are generated: `<!-- generated: NAME -->` begins one, `<!-- end -->`
//! ends it. The text around them is written by hand.
//!
//! A test calls [`hold`] with what the code gives; it fails when the file says something else.
//! `UPDATE_DOCS=1 cargo test --test it documents::` (`make docs-reference`) rewrites the files.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

const UPDATE: &str = "UPDATE_DOCS";
const END: &str = "<!-- end -->";

/// Fails unless the part `name` of the document is `expected`. With `UPDATE_DOCS` set it writes
/// that instead.
#[track_caller]
pub(crate) fn hold(document: &str, name: &str, expected: &str) {
    // Tests for several parts of one document run at the same time.
    static WRITING: Mutex<()> = Mutex::new(());
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
    let updated =
        replaced(&text, name, expected).unwrap_or_else(|error| panic!("{document}: {error}"));
    if updated == text {
        return;
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, updated).unwrap();
        return;
    }
    panic!(
        "{document} is out of date{}\nrun `make docs-reference` and commit the result",
        first_difference(&text, &updated)
    );
}

/// The text with the part `name` replaced.
fn replaced(text: &str, name: &str, part: &str) -> Result<String, String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let start = text.find(&begin).ok_or(format!("there is no line `{}`", begin.trim_end()))?;
    let start = start + begin.len();
    let length = text[start..].find(END).ok_or(format!("`{name}` has no `{END}`"))?;
    let part = part.trim_matches('\n');
    Ok(format!("{}\n{part}\n\n{}", &text[..start], &text[start + length..]))
}

fn first_difference(before: &str, after: &str) -> String {
    let lines = before.lines().zip(after.lines()).zip(1..);
    let Some(((before, after), line)) = { lines }.find(|((before, after), _)| before != after)
    else {
        return ": one is longer than the other".to_owned();
    };
    format!(", line {line}:\n- {before}\n+ {after}")
}

#[test]
fn only_the_part_is_replaced() {
    let text =
        "# A\n<!-- generated: b -->\nold\n<!-- end -->\nc\n<!-- generated: d -->\n<!-- end -->";
    let once = replaced(text, "b", "new\nlines\n").unwrap();
    assert_eq!(
        once,
        "# A\n<!-- generated: b -->\n\nnew\nlines\n\n<!-- end -->\nc\n\
         <!-- generated: d -->\n<!-- end -->"
    );
    assert_eq!(replaced(&once, "b", "new\nlines").unwrap(), once);
    assert!(replaced(&once, "d", "x").unwrap().ends_with("\n\nx\n\n<!-- end -->"));
    assert!(replaced(text, "e", "x").unwrap_err().contains("no line `<!-- generated: e -->`"));
    assert!(replaced("<!-- generated: b -->\n", "b", "x").unwrap_err().contains("no `<!-- end"));
}

#[test]
fn a_difference_is_shown() {
    assert_eq!(first_difference("a\nb\n", "a\nc\n"), ", line 2:\n- b\n+ c");
    assert_eq!(first_difference("a\n", "a\nc\n"), ": one is longer than the other");
}

//! What is rejected, at which column, and with which message.

use super::*;
use crate::error::{Kind as ErrorKind, Reason};

fn refused(text: &str) -> String {
    let Err(error) = Filter::parse(text) else { panic!("{text:.80} should be refused") };
    assert_eq!(
        (error.kind(), error.reason()),
        (ErrorKind::InvalidArgument, Reason::ValidationFailed)
    );
    assert_eq!(error.violations().len(), 1);
    assert_eq!(error.violations()[0].field, "filter");
    error.violations()[0].description.clone()
}

fn table(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        let description = refused(text);
        assert!(description.starts_with(expected), "{text}\n{description}\n{expected}");
        assert!(description.len() < 300, "{description}");
    }
}

#[test]
fn syntax() {
    table(&[
        ("state =", "at column 8: expected a value, found the end"),
        ("state = )", "at column 9: expected a value, found \")\""),
        ("= ACTIVE", "at column 1: expected a field or a text, found \"=\""),
        ("(state = ACTIVE", "at column 1: unmatched ("),
        ("state = ACTIVE)", "at column 15: unmatched )"),
        ("()", "at column 2: expected a field or a text, found \")\""),
        ("state = ACTIVE AND", "at column 19: expected a field or a text, found the end"),
        ("state = ACTIVE OR", "at column 18: expected a field or a text, found the end"),
        ("AND state = ACTIVE", "at column 1: expected a field or a text, found AND"),
        ("a AND AND b", "at column 7: expected a field or a text, found AND"),
        ("NOT NOT a", "at column 5: expected a field or a text, found NOT"),
        ("state = OR", "at column 9: expected a value, found OR; quote it"),
        ("NOT", "at column 4: expected a field or a text"),
        ("a and b", "at column 3: write AND in upper case, or \"and\" in quotes to search"),
        ("a Or b", "at column 3: write OR in upper case, or \"Or\" in quotes to search"),
        ("not state = ACTIVE", "at column 1: write NOT in upper case"),
        ("a || b", "at column 3: write OR between two terms, or quote a text that contains ||"),
        ("a && b", "at column 3: write AND between two terms, or quote"),
        ("a||b", "at column 2: write OR between two terms"),
        ("state = ACTIVE || retail = true", "at column 16: write OR"),
        ("display_name = a||description = b", "at column 17: write OR"),
        ("a &&b", "at column 3: write AND"),
        ("display_name ~ x", "at column 14: ~ is not an operator: use = with * as a wildcard"),
        ("display_name =~ x", "at column 15: ~ is not an operator"),
        ("display_name ~x", "at column 14: ~ is not an operator"),
        ("-", "at column 2: expected a field or a text"),
        ("name = \"x", "at column 8: unmatched quote"),
        ("name = 'x\"", "at column 8: unmatched quote"),
        (r#"name = "x\y""#, "at column 10: \\ must be followed by one of"),
        ("name = \"x\\", "at column 10: \\ must be followed by one of"),
        ("name = a=b", "at column 9: unexpected \"=\""),
        ("name = a,b", "at column 9: unexpected \",\""),
        ("name = \"a\"b", "at column 11: unexpected \"b\""),
        ("name == a", "at column 7: expected a value, found \"=\""),
        ("regex(name)", "at column 6: functions are not supported"),
        ("name = f(x)", "at column 9: functions are not supported"),
        ("state = (ACTIVE OR INACTIVE)", "at column 9: values in parentheses are not supported"),
        ("\"state\" = ACTIVE", "at column 1: a field must not be quoted"),
        ("unmapped. = x", "at column 10: expected a name after the dot"),
        ("unmapped.'a*' = x", "at column 10: a name cannot have wildcards"),
        ("é AND name=", "at column 12: expected a value"),
    ]);
}

#[test]
fn fields_and_values() {
    table(&[
        (
            "displayName = x",
            "at column 1: \"displayName\" is not a field of a profile; did you mean display_name?",
        ),
        (
            "state = ACTIVE AND stat = x",
            "at column 20: \"stat\" is not a field of a profile; did you mean state?",
        ),
        ("name.x = 1", "at column 1: \"name.x\" is not a field"),
        ("services.0.id = 1", "at column 1: \"services.0.id\" is not a field"),
        ("state = ON", "at column 9: \"state\" takes one of ACTIVE, INACTIVE"),
        ("state = active", "at column 9: \"state\" takes one of"),
        ("state = *", "at column 9: \"state\" takes one of"),
        ("state = STATE_UNSPECIFIED", "at column 9: unspecified is not a value; use `NOT state:*`"),
        ("state > ACTIVE", "at column 7: \"state\" is an enum, which has no order"),
        (
            "radio_access : 6G",
            "at column 16: \"radio_access\" takes one of 2G, 3G, 4G, 5G, NB_IOT, NB_IOT_NTN",
        ),
        ("retail = yes", "at column 10: \"retail\" takes true or false"),
        ("retail < true", "at column 8: \"retail\" is true or false"),
        ("endpoint_count = many", "at column 18: \"endpoint_count\" takes a 64-bit integer"),
        ("endpoint_count = 1.5", "at column 18: \"endpoint_count\" takes a 64-bit integer"),
        ("endpoint_count = 9223372036854775808", "at column 18: \"endpoint_count\" takes a 64-bit"),
        ("endpoint_count = *", "at column 18: \"endpoint_count\" takes a 64-bit integer"),
        ("network = x", "at column 9: \"network\" is a message: compare its fields"),
        ("services : DATA", "at column 10: \"services\" is a message: compare its fields"),
        ("services != *", "at column 10: \"services\" is a message"),
        ("unmapped = x", "at column 10: name a member, as in unmapped.key"),
        ("display_name < 'a*'", "at column 16: wildcards work only with =, != and :"),
        ("unmapped.a < 'a*'", "at column 14: wildcards work only with =, != and :"),
    ]);
}

#[test]
fn bounds() {
    let long = format!("name = {}", "x".repeat(MAX_BYTES));
    let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    let wide = |n: usize| vec!["a"; n].join(" ");
    table(&[
        (&long, "at column 4097: is 4103 bytes long; the limit is 4096"),
        (&deep(33), "at column 33: nested deeper than 32 parentheses"),
        (&"(".repeat(4096), "at column 33: nested deeper than 32"),
        (&wide(129), "at column 257: more than 128 terms"),
        (&format!("{} = 1", "x".repeat(4000)), "at column 1: \"xxx"),
    ]);
    for text in [deep(32), wide(128), wide(128).replace(' ', " OR ")] {
        filter(&text);
    }
}

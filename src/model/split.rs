//! Splits JSON that a parser has accepted into its parts, which stay text.
//!
//! The parser checks every byte. To have it check the inner parts again, once for each level that
//! they are nested in, would cost more than all else that is done with a response.
//!
//! Given what is not JSON, the functions return something or nothing, but never panic.

use memchr::{memchr2, memchr3};

/// Gives each key of an object, as it is written, with what is left from its value on, until one is
/// answered with nothing; `None` then, and if it is something else. Who is given a value passes it.
pub(super) fn members<'a>(
    rest: &mut Rest<'a>,
    mut member: impl FnMut(&'a str, &mut Rest<'a>) -> Option<()>,
) -> Option<()> {
    rest.skip(b'{')?;
    while !rest.ends_with(b'}')? {
        let key = rest.value()?;
        rest.skip(b':')?;
        member(key, rest)?;
    }
    rest.skip(b'}')
}

/// The elements of an array; `None` if it is something else.
pub(super) fn elements(json: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    elements_while(json, |element| {
        found.push(element);
        true
    })?;
    Some(found)
}

/// Gives each element of an array until one is answered with false; `None` if it is something else.
pub(super) fn elements_while<'a>(
    json: &'a str,
    mut goes_on: impl FnMut(&'a str) -> bool,
) -> Option<()> {
    let mut rest = Rest::of(json);
    rest.skip(b'[')?;
    while !rest.ends_with(b']')? {
        if !goes_on(rest.value()?) {
            break;
        }
    }
    Some(())
}

/// What is left to read of a JSON text.
#[derive(Clone, Copy)]
pub(super) struct Rest<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    pub(super) fn of(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// What is made of what comes next, with its text; if that is nothing, it still comes next.
    pub(super) fn passed<T>(
        &mut self,
        pass: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<(T, &'a str)> {
        self.peek()?;
        let mut ahead = *self;
        let made = pass(&mut ahead)?;
        let text = self.json.get(self.at..ahead.at)?;
        *self = ahead;
        Some((made, text))
    }

    /// The next byte, without the white space before it.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.json.as_bytes().get(self.at..)?;
        let blank = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))?;
        self.at += blank;
        rest.get(blank).copied()
    }

    /// Passes one byte, and the white space before it.
    fn skip(&mut self, expected: u8) -> Option<()> {
        let found = self.peek()? == expected;
        self.at += 1;
        found.then_some(())
    }

    /// Whether there is no further part. Passes the comma before one.
    fn ends_with(&mut self, close: u8) -> Option<bool> {
        let next = self.peek()?;
        if next == b',' {
            self.at += 1;
        }
        Some(next == close)
    }

    /// Passes a value, and returns its text.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let next = self.peek()?;
        let start = self.at;
        let bytes = self.json.as_bytes();
        self.at = match next {
            b'"' => string_end(bytes, start)?,
            b'{' | b'[' => nested_end(bytes, start, next)?,
            _ => {
                let over =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                start + bytes.get(start..)?.iter().position(over)?
            }
        };
        // Empty where a value is missing: the caller would read it again and again.
        self.json.get(start..self.at).filter(|text| !text.is_empty())
    }
}

/// Where the string ends that begins here.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        let found = at + memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(found) == Some(&b'"') {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

/// Where the object or array ends that begins here. Brackets of the other kind come in pairs.
fn nested_end(bytes: &[u8], start: usize, open: u8) -> Option<usize> {
    let close = if open == b'{' { b'}' } else { b']' };
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        let found = at + memchr3(b'"', open, close, bytes.get(at..)?)?;
        match *bytes.get(found)? {
            b'"' => {
                at = string_end(bytes, found)?;
                continue;
            }
            byte if byte == open => depth += 1,
            _ => depth -= 1,
        }
        at = found + 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, value::RawValue};

    use super::*;

    fn members(json: &str) -> Option<Vec<(&str, &str)>> {
        let mut found = Vec::new();
        super::members(&mut Rest::of(json), |key, rest| {
            found.push((key, rest.value()?));
            Some(())
        })
        .map(|()| found)
    }

    #[test]
    fn parts_are_found_whatever_is_in_them() {
        let json = r#" { "a" : [1, {"b":"]}\"\\"}] ,"c\"":"\\", "d":-1.5e3 ,"e":{}, "f":null } "#;
        let found = members(json).unwrap();
        let parts = [
            (r#""a""#, r#"[1, {"b":"]}\"\\"}]"#),
            (r#""c\"""#, r#""\\""#),
            (r#""d""#, "-1.5e3"),
            (r#""e""#, "{}"),
            (r#""f""#, "null"),
        ];
        assert_eq!(found, parts);
        assert_eq!(elements("[ ]"), Some(vec![]));
        assert_eq!(elements(r#"["ä",[[]],2]"#), Some(vec![r#""ä""#, "[[]]", "2"]));
        assert_eq!((members("[]"), elements("{}"), members(""), elements("1")), Default::default());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
            ".{0,8}".prop_map(Value::from),
            r#"["\\\[\]{},: ]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((r#"["\\{}:a-c]{0,4}"#, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_parts_are_those_of_the_parser(json in json(), pretty in any::<bool>()) {
            let text = if pretty { format!("{json:#}") } else { json.to_string() };
            let expected: Option<Vec<&RawValue>> = serde_json::from_str(&text).ok();
            let expected = expected.map(|items| items.into_iter().map(RawValue::get).collect());
            prop_assert_eq!(elements(&text), expected);
            let object = json.as_object().map(|_| members(&text).unwrap());
            prop_assert_eq!(object.is_none(), members(&text).is_none());
            for (key, value) in object.into_iter().flatten() {
                let key: String = serde_json::from_str(key).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Value>(value).unwrap(), &json[&key]);
            }
        }

        #[test]
        fn what_is_not_json_does_no_harm(text in r#"[\[\]{}",:\\a1 ä]{0,24}"#) {
            let _ = (members(&text), elements(&text));
        }
    }
}

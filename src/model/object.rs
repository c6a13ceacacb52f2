//! JSON of an upstream whose values keep their own text until they are needed.
//!
//! Parsing a whole answer would let one odd value take everything with it: half of a surrogate
//! pair, a number beyond doubles, or arrays nested too deeply. It would also change numbers: those
//! beyond 64 bits would be rounded, and `1.0` or `1e2` would be spelled differently.

use std::{borrow::Cow, fmt};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    number,
    split::{self, Rest},
    tree,
};

/// Members of a usual object.
const USUAL: usize = 8;

/// The most members of an object, with those of equal keys; the vendors' have a few dozen.
const MAX_MEMBERS: usize = 4096;

/// A JSON object: keys in their order, each with the text of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<'a>(Vec<Member<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member<'a> {
    key: Cow<'a, str>,
    /// The key's own text, if it is not text in Unicode.
    odd_key: Option<Cow<'a, str>>,
    value: Cow<'a, str>,
    /// The value as an object, if it was entered.
    entered: Option<Box<Object<'a>>>,
}

impl<'a> Object<'a> {
    /// Reads an object; `None` if it is something else, or has more members than any has.
    #[must_use]
    pub fn read(json: &'a [u8]) -> Option<Self> {
        Self::entering(json, &[])
    }

    /// The same, with the objects that these of its members are, and these of theirs, and so on:
    /// they are read on the way, and not once more for each level around them.
    #[must_use]
    pub fn entering(json: &'a [u8], keys: &[&[&str]]) -> Option<Self> {
        Self::next(&mut Rest::of(checked(json)?), keys)
    }

    /// The object in a part of what was read before, which is not checked again.
    #[must_use]
    pub fn of(json: &'a str) -> Option<Self> {
        Self::next(&mut Rest::of(json), &[])
    }

    /// The object that comes next.
    fn next(rest: &mut Rest<'a>, keys: &[&[&str]]) -> Option<Self> {
        let mut members: Vec<Member<'a>> = Vec::with_capacity(USUAL);
        split::members(rest, |key, rest| {
            let (key, odd_key) = unescaped(key);
            let entered = enter(&key, rest, keys);
            let (entered, value) = match entered {
                Some((object, text)) => (Some(Box::new(object)), text),
                None => (None, rest.value()?),
            };
            if entered.is_some() {
                // Only the last of equal keys counts.
                members.iter_mut().filter(|member| member.key == key).for_each(Member::leave);
            }
            members.push(Member { key, odd_key, value: Cow::Borrowed(value), entered });
            (members.len() <= MAX_MEMBERS).then_some(())
        })?;
        Some(Self(members))
    }

    /// An object that was entered.
    #[must_use]
    pub fn entered(&self, key: &str) -> Option<&Self> {
        self.last(key)?.entered.as_deref()
    }

    /// The same alone.
    #[must_use]
    pub fn into_entered(self, key: &str) -> Option<Self> {
        self.0.into_iter().rfind(|member| member.key == key)?.entered.map(|object| *object)
    }

    /// The object with texts of its own.
    #[must_use]
    pub fn into_owned(self) -> Object<'static> {
        let own = |text: Cow<'a, str>| -> Cow<'static, str> { Cow::Owned(text.into_owned()) };
        let members = self.0.into_iter().map(|member| Member {
            key: own(member.key),
            odd_key: member.odd_key.map(own),
            value: own(member.value),
            entered: member.entered.map(|object| Box::new(object.into_owned())),
        });
        Object(members.collect())
    }

    /// Keys and values, in order; a value is JSON text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|member| (&*member.key, &*member.value))
    }

    /// The text of a value; the last one if a key is repeated, as parsers commonly do.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.last(key).map(|member| &*member.value)
    }

    /// The same of a value that was read and not set.
    #[must_use]
    pub fn source(&self, key: &str) -> Option<&'a str> {
        match self.last(key)?.value {
            Cow::Borrowed(text) => Some(text),
            Cow::Owned(_) => None,
        }
    }

    fn last(&self, key: &str) -> Option<&Member<'a>> {
        let members = self.0.iter().rev();
        #[cfg(test)]
        let members = members.inspect(|_| work::looked_at_a_member());
        let mut members = members;
        members.find(|member| member.key == key)
    }

    /// A value; `None` if it is null, absent, too long, or rejected by the parser.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Value> {
        tree::built(self.text(key)?.as_bytes()).filter(|value| !value.is_null())
    }

    /// A string, or the digits of a number in place of a string of digits.
    #[must_use]
    pub fn scalar(&self, key: &str) -> Option<String> {
        number::scalar(self.text(key)?)
    }

    /// Sets a member, in its current position or at the end.
    pub fn set(&mut self, key: &str, value: &Value) {
        let at = self.0.iter().position(|member| member.key == key);
        self.remove(key);
        // Everything before the first of them is still there, so the index exists.
        let at = at.unwrap_or(self.0.len());
        let (key, value) = (Cow::Owned(key.to_owned()), Cow::Owned(value.to_string()));
        self.0.insert(at, Member { key, odd_key: None, value, entered: None });
    }

    /// Removes a member.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|member| member.key != key);
    }
}

/// Whether this is JSON of any kind.
#[must_use]
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// The text of what is JSON of any kind.
fn checked(json: &[u8]) -> Option<&str> {
    is_json(json).then(|| str::from_utf8(json).ok())?
}

/// The first elements of a JSON array, as text, no more than so many, and whether there are others;
/// `None` if it is something else. A null or an empty string stands for no element: it is left out.
#[must_use]
pub fn read_elements(json: &[u8], most: usize) -> Option<(Vec<&str>, bool)> {
    elements_within(checked(json)?, most)
}

/// The same of a part of what was read before, which is not checked again.
#[must_use]
pub fn elements_within(json: &str, most: usize) -> Option<(Vec<&str>, bool)> {
    let (mut elements, mut more) = (Vec::new(), false);
    split::elements_while(json, |element| {
        if !is_nothing(element) {
            more = elements.len() == most;
            if !more {
                elements.push(element);
            }
        }
        !more
    })?;
    Some((elements, more))
}

/// All of the elements.
#[must_use]
pub fn elements(json: &str) -> Option<Vec<&str>> {
    elements_within(json, usize::MAX).map(|(elements, _)| elements)
}

fn is_nothing(json: &str) -> bool {
    json == "null" || json.strip_prefix('"').is_some_and(|rest| rest.trim() == "\"")
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, member) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match &member.odd_key {
                Some(key) => write!(f, "{comma}{key}:{}", member.value)?,
                None => write!(f, "{comma}{}:{}", Value::from(&*member.key), member.value)?,
            }
        }
        f.write_str("}")
    }
}

/// Counts the members that lookups went over, for tests of how much work there is.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        static MEMBERS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn looked_at_a_member() {
        MEMBERS.set(MEMBERS.get() + 1);
    }

    /// How many members were looked at, in this thread, while this ran.
    pub(crate) fn members<T>(run: impl FnOnce() -> T) -> usize {
        let before = MEMBERS.get();
        run();
        MEMBERS.get() - before
    }
}

/// A key without its escapes, and its own text, if it is not text in Unicode.
fn unescaped(key: &str) -> (Cow<'_, str>, Option<Cow<'_, str>>) {
    // Most keys need no unescaping.
    let plain = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    if let Some(plain) = plain.filter(|plain| !plain.bytes().any(|byte| byte == b'\\')) {
        return (Cow::Borrowed(plain), None);
    }
    match serde_json::from_str::<String>(key) {
        Ok(unescaped) => (Cow::Owned(unescaped), None),
        // Half of a surrogate pair: such a key is shown as it is written.
        Err(_) => (Cow::Borrowed(key), Some(Cow::Borrowed(key))),
    }
}

/// The object that is the value of this key, and its text, if it is to be entered.
fn enter<'a>(key: &str, rest: &mut Rest<'a>, keys: &[&[&str]]) -> Option<(Object<'a>, &'a str)> {
    let (keys, inner) = keys.split_first()?;
    keys.contains(&key).then(|| rest.passed(|rest| Object::next(rest, inner)))?
}

impl Member<'_> {
    fn leave(&mut self) {
        self.entered = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_member_leaves_the_others() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for odd in [r#""\ud800""#, "1e400", deep.as_str(), "123456789012345678901234567890"] {
            let text = format!(r#"{{"a": "x", "odd":{odd}, "b\u0041":1.10}}"#);
            let object = Object::of(&text).unwrap();
            assert_eq!(object.text("odd"), Some(odd));
            assert_eq!(object.value("a"), Some(Value::from("x")));
            assert_eq!(object.text("bA"), Some("1.10"));
            let plain = text.replace(", ", ",").replace(": ", ":").replace("\\u0041", "A");
            assert_eq!(object.to_string(), plain);
        }
        let odd = Object::of(r#"{"\ud800":1,"a":2}"#).unwrap();
        assert_eq!(odd.text("a"), Some("2"));
        assert_eq!(odd.iter().next(), Some((r#""\ud800""#, "1")));
        assert_eq!(odd.to_string(), r#"{"\ud800":1,"a":2}"#);
        let object = |members: usize| format!("{{{}}}", vec![r#""a":1"#; members].join(","));
        assert!(Object::of(&object(MAX_MEMBERS)).is_some());
        assert_eq!(Object::of(&object(MAX_MEMBERS + 1)), None);
        for other in ["[]", "1", "", "{", r#"{"a":}"#, r#"{"a":1,}"#] {
            assert_eq!(Object::read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let mut object = Object::of(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.text("a"), Some("3"));
        object.set("a", &Value::from(4));
        assert_eq!(object.to_string(), r#"{"a":4,"b":2}"#);
        object.remove("b");
        object.set("c", &Value::Null);
        assert_eq!((object.text("c"), object.value("c")), (Some("null"), None));
    }

    #[test]
    fn objects_are_entered_where_that_is_asked_for() {
        let read = |json: &'static str| Object::entering(json.as_bytes(), &[&["a"], &["b", "c"]]);
        let object = read(r#"{ "a" : {"b": {"a":{"b":1}}, "c":[{}], "d":{}} , "e": {"b":{}}}"#);
        let object = object.unwrap();
        let a = object.entered("a").unwrap();
        assert_eq!(object.text("a"), Some(r#"{"b": {"a":{"b":1}}, "c":[{}], "d":{}}"#));
        assert_eq!((a.text("c"), a.text("d")), (Some("[{}]"), Some("{}")));
        let b = a.entered("b").unwrap();
        assert_eq!((b.text("a"), a.text("b")), (Some(r#"{"b":1}"#), Some(r#"{"a":{"b":1}}"#)));
        for (object, key) in [(a, "c"), (a, "d"), (&object, "e"), (b, "a"), (&object, "b")] {
            assert_eq!(object.entered(key), None, "{key}");
        }
        assert_eq!(object.clone().into_entered("a").as_ref(), Some(a));

        let last = read(r#"{"a":{"b":{}},"\u0061":{"b":{"x":1}}}"#).unwrap();
        assert_eq!(last.entered("a").unwrap().entered("b").unwrap().text("x"), Some("1"));
        assert_eq!(last.iter().count(), 2);
        assert_eq!(last.0.iter().filter(|member| member.entered.is_some()).count(), 1);
        assert_eq!(read(r#"{"a":{"b":{}},"a":null}"#).unwrap().entered("a"), None);

        let many = format!("{{{}}}", vec![r#""x":1"#; MAX_MEMBERS + 1].join(","));
        let text = format!(r#"{{"a":{many},"z":2}}"#);
        let object = Object::entering(text.as_bytes(), &[&["a"]]).unwrap();
        assert_eq!((object.entered("a"), object.text("a")), (None, Some(&*many)));
        assert_eq!(object.text("z"), Some("2"));
    }

    #[test]
    fn empty_elements_are_left_out() {
        let found = elements(r#"[{"a":1}, null, "", "  ", [], "x", 1]"#);
        assert_eq!(found, Some(vec![r#"{"a":1}"#, "[]", "\"x\"", "1"]));
        let bounded = |most| read_elements(br#"[1, null, 2, 3, ""]"#, most);
        assert_eq!(bounded(3), Some((vec!["1", "2", "3"], false)));
        assert_eq!(bounded(2), Some((vec!["1", "2"], true)));
        for wrong in ["{}", "[1,", "[1,2", "[1, 2, x]", "[1] 2"] {
            assert_eq!(read_elements(wrong.as_bytes(), 1), None, "{wrong}");
        }
    }
}

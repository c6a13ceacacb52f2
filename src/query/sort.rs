//! The order of a list (AIP-132, `order_by`) and a profile's position in it.
//!
//! A position is a string that compares, byte by byte, as the profiles do. The list is sorted by it
//! and page tokens hold it. So the next page starts after the last item's position even if that
//! item is gone, and sorting and paging cannot disagree.
//!
//! - Fields are separated by commas, each with ` desc` or ` asc`, which is the default.
//! - Profiles in which a field is unset come after the others, in either direction.
//! - Strings sort by code point and by their first [`MAX_TEXT_BYTES`] bytes, numbers and enums by
//!   number, `false` before `true`. `name` sorts by backend and then by id, numbers in it by value.
//! - Profiles that are equal in all fields sort by `name`, as they do without `order_by`.
//! - Fields that hold several values or a message cannot be sorted by, nor can `unmapped`, which
//!   has no types.

use std::fmt;

use crate::{
    error::Result,
    model::{etag::id_order, name::ProfileName},
    pb::Profile,
    query::{
        access::{Access, Value},
        fault::{Fault, Read},
        field::{self, Kind},
    },
    text,
};

/// How much of a string is compared: as much as a display name may have.
pub const MAX_TEXT_BYTES: usize = 1024;
/// How many fields there may be. With [`MAX_TEXT_BYTES`] it bounds the length of a page token.
pub const MAX_FIELDS: usize = 8;
/// Longest `order_by`, in bytes.
const MAX_BYTES: usize = 1024;

/// A checked `order_by`. The default sorts by `name`.
#[derive(Default)]
pub struct OrderBy(Vec<Key>);

struct Key {
    path: String,
    descending: bool,
    access: Access<Profile>,
}

impl OrderBy {
    /// Parses `order_by` of a request. A mistake in it is a violation of that field, with the
    /// column.
    pub fn parse(text: &str) -> Result<Self> {
        keys(text).map(Self).map_err(|fault| fault.refuse("order_by", text))
    }

    /// Whether it sorts by nothing but fields that `has` knows; `name` always counts.
    pub fn reads_only(&self, has: impl Fn(&str) -> bool) -> bool {
        self.0.iter().all(|key| has(&key.path))
    }

    /// The profile's position: the smaller one comes first.
    #[must_use]
    pub fn position(&self, profile: &Profile) -> String {
        let mut position = String::new();
        for key in &self.0 {
            key.write(profile, &mut position);
        }
        position.push_str(&sort_key(&profile.name));
        position
    }
}

impl fmt::Debug for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.path, key.descending))).finish()
    }
}

fn keys(text: &str) -> Read<Vec<Key>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    if text.len() > MAX_BYTES {
        let message = format!("is {} bytes long; the limit is {MAX_BYTES}", text.len());
        return Err(Fault::new(MAX_BYTES, message));
    }
    let (mut keys, mut at): (Vec<Key>, usize) = (Vec::new(), 0);
    for part in text.split(',') {
        let begin = at + part.len() - part.trim_start().len();
        let key = key(part.trim(), begin)?;
        if keys.iter().any(|known| known.path == key.path) {
            return Err(Fault::new(begin, format!("{} is listed twice", key.path)));
        }
        if keys.len() == MAX_FIELDS {
            return Err(Fault::new(begin, format!("more than {MAX_FIELDS} fields")));
        }
        keys.push(key);
        at += part.len() + 1;
    }
    Ok(keys)
}

/// Parses `path [asc|desc]`.
fn key(part: &str, at: usize) -> Read<Key> {
    let (path, direction) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
    let descending = match direction.trim() {
        "" | "asc" => false,
        "desc" => true,
        other => {
            let message =
                format!("expected asc or desc after a field, not {}", text::quoted(other));
            return Err(Fault::new(at + part.len() - direction.trim_start().len(), message));
        }
    };
    let refuse = |message: String| Fault::new(at, message);
    if path.is_empty() {
        return Err(refuse("expected a field".to_owned()));
    }
    let segments: Vec<&str> = path.split('.').collect();
    let field = field::resolve(&segments).map_err(refuse)?;
    if field.repeated {
        return Err(refuse(format!(
            "{path} can have several values, so a list cannot be sorted by it"
        )));
    }
    if matches!(field.kind, Kind::Message | Kind::Struct) {
        return Err(refuse(format!(
            "{} is not a single value, so a list cannot be sorted by it",
            text::quoted(path)
        )));
    }
    Ok(Key { path: path.to_owned(), descending, access: field.access })
}

impl Key {
    /// Appends the key. No key is the beginning of another, so the next one can follow directly.
    fn write(&self, profile: &Profile, to: &mut String) {
        let set = (self.access)(profile, &mut |value| {
            to.push('0');
            match value {
                Value::Text(_) if self.path == "name" => {
                    self.write_text(&sort_key(&profile.name), to);
                }
                Value::Text(text) => self.write_text(text, to),
                // With the sign bit flipped, negative numbers come first.
                Value::Number(number) => {
                    self.write_bytes(&(number ^ i64::MIN).to_be_bytes(), to);
                }
                Value::Flag(flag) => self.write_bytes(&[u8::from(flag)], to),
                Value::Message | Value::Struct(_) | Value::Member(_) => {}
            }
            true
        });
        if !set {
            to.push('1');
        }
    }

    fn write_text(&self, text: &str, to: &mut String) {
        let bytes = text.as_bytes();
        self.write_bytes(bytes.get(..MAX_TEXT_BYTES).unwrap_or(bytes), to);
        // Sorts before or after all digits, so that a string comes before longer ones that begin
        // with it.
        to.push(if self.descending { '~' } else { '!' });
    }

    fn write_bytes(&self, bytes: &[u8], to: &mut String) {
        let flip = if self.descending { 0xff } else { 0 };
        let bytes: Vec<u8> = bytes.iter().map(|byte| byte ^ flip).collect();
        to.push_str(&hex::encode(bytes));
    }
}

/// A string that sorts the names of profiles by backend and then by id, numbers by value.
#[must_use]
pub fn sort_key(name: &str) -> String {
    let Ok(name) = ProfileName::parse("name", name) else {
        return name.to_owned();
    };
    let (prefix, digits, number) = id_order(name.id());
    format!("{}/{prefix}/{digits:04}/{number}/{}", name.backend().id(), name.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pb::{Callback, Callbacks, NetworkSettings, RadioAccess, State, SubscriberDefaults},
        query::page::{PageTokens, Query},
    };
    use proptest::prelude::*;

    fn profile(id: &str, display_name: &str, count: Option<i64>) -> Profile {
        Profile {
            name: format!("backends/a/profiles/{id}"),
            display_name: display_name.to_owned(),
            endpoint_count: count,
            ..Profile::default()
        }
    }

    fn ordered(order_by: &str, mut profiles: Vec<Profile>) -> Vec<String> {
        let order = OrderBy::parse(order_by).unwrap();
        profiles.sort_by_key(|profile| order.position(profile));
        profiles.iter().map(|p| p.name.rsplit('/').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn orders_by_fields_then_by_id() {
        let list = || {
            vec![
                profile("10", "b", Some(-1)),
                profile("9", "b", Some(5)),
                profile("3", "a", None),
                profile("4", "ab", Some(0)),
                profile("5", "", Some(0)),
            ]
        };
        for (order_by, expected) in [
            ("", ["3", "4", "5", "9", "10"]),
            ("  ", ["3", "4", "5", "9", "10"]),
            ("name desc", ["10", "9", "5", "4", "3"]),
            ("display_name", ["3", "4", "9", "10", "5"]),
            ("display_name asc", ["3", "4", "9", "10", "5"]),
            ("display_name  desc", ["9", "10", "4", "3", "5"]),
            ("endpoint_count", ["10", "4", "5", "9", "3"]),
            (" endpoint_count desc , display_name desc", ["9", "4", "5", "10", "3"]),
            ("display_name desc,endpoint_count", ["10", "9", "4", "3", "5"]),
            ("display_name,name desc", ["3", "4", "10", "9", "5"]),
            ("network.dns.ip_version,retail desc", ["3", "4", "5", "9", "10"]),
        ] {
            assert_eq!(ordered(order_by, list()), expected, "{order_by}");
        }
    }

    #[test]
    fn flags_enums_and_nested_fields_order() {
        let mut list = vec![profile("1", "", None), profile("2", "", None), profile("3", "", None)];
        list[0].retail = Some(true);
        list[1].retail = Some(false);
        list[0].set_state(State::Active);
        list[2].set_state(State::Inactive);
        let network = |on| NetworkSettings { network_initiated_pdp: on, ..Default::default() };
        list[1].network = Some(network(Some(true)));
        list[2].network = Some(network(None));
        for (order_by, expected) in [
            ("retail", ["2", "1", "3"]),
            ("retail desc", ["1", "2", "3"]),
            ("state", ["1", "3", "2"]),
            ("state desc", ["3", "1", "2"]),
            ("network.network_initiated_pdp", ["2", "1", "3"]),
        ] {
            assert_eq!(ordered(order_by, list.clone()), expected, "{order_by}");
        }
    }

    #[test]
    fn mistakes_are_reported_with_their_column() {
        let many = ["retail"; 9].join(",");
        let long = "a".repeat(MAX_BYTES + 1);
        let nine = "name,state,category,retail,dialect,etag,description,payment_type,display_name";
        for (order_by, expected) in [
            ("displayName", "at column 1: \"displayName\" is not a field"),
            ("state, xyzzy", "at column 8: \"xyzzy\" is not a field"),
            ("state down", "at column 7: expected asc or desc after a field, not \"down\""),
            ("state DESC", "at column 7: expected asc or desc after a field"),
            ("state desc asc", "at column 7: expected asc or desc after a field"),
            ("state,", "at column 7: expected a field"),
            (",", "at column 1: expected a field"),
            ("state, state desc", "at column 8: state is listed twice"),
            ("radio_access", "at column 1: radio_access can have several values"),
            ("services.id", "at column 1: services.id can have several values"),
            ("network", "at column 1: \"network\" is not a single value"),
            ("unmapped", "at column 1: \"unmapped\" is not a single value"),
            ("unmapped.a", "at column 1: \"unmapped.a\" is not a single value"),
            (&many, "at column 8: retail is listed twice"),
            (nine, "at column 66: more than 8 fields"),
            (&long, "at column 1025: is 1025 bytes long"),
        ] {
            let error = OrderBy::parse(order_by).unwrap_err();
            let violation = &error.violations()[0];
            assert_eq!(violation.field, "order_by");
            assert!(violation.description.starts_with(expected), "{}", violation.description);
        }
    }

    #[test]
    fn sort_keys_compare_by_backend_and_number() {
        let mut names = ["b/profiles/1", "a/profiles/SP_10", "a/profiles/SP_9", "a/profiles/7"]
            .map(|name| format!("backends/{name}"));
        names.sort_by_key(|name| sort_key(name));
        assert_eq!(
            names.map(|name| name.rsplit('/').next().unwrap().to_owned()),
            ["7", "SP_9", "SP_10", "1"]
        );
    }

    const QUERY: Query<'static> =
        Query { caller: "c", parent: "backends/a", variant: "", filter: "", order_by: "" };

    #[test]
    fn the_longest_position_fits_a_page_token() {
        let long = || "x".repeat(100_000);
        let mut full = profile(&"9".repeat(900), &long(), Some(1));
        (full.description, full.etag) = (Some(long()), long());
        full.subscriber = Some(SubscriberDefaults {
            initial_core_plan: Some(long()),
            subscriber_class: Some(long()),
            locale: Some(long()),
        });
        let api = Callback { url: Some(long()), ..Callback::default() };
        full.callbacks = Some(Callbacks { api: Some(api), ..Callbacks::default() });
        let order = OrderBy::parse(
            "display_name,description,etag,name,subscriber.initial_core_plan,\
             subscriber.subscriber_class desc,subscriber.locale,callbacks.api.url",
        );
        let position = order.unwrap().position(&full);
        assert!(position.len() > 8 * 2 * MAX_TEXT_BYTES);
        let tokens = PageTokens::new([7; 32], usize::MAX);
        assert!(tokens.open(&QUERY, 1, &tokens.seal(&QUERY, &position).unwrap()).is_ok());
    }

    #[test]
    fn pages_keep_the_order_when_their_last_item_is_removed() {
        let order = OrderBy::parse("display_name desc, endpoint_count").unwrap();
        let tokens = PageTokens::new([7; 32], usize::MAX);
        let names = ["b", "a", "", "ab", "b", "c", "", "a"];
        let counts = [Some(3), None, Some(1), Some(0), Some(2), None, None, Some(-4)];
        let mut list: Vec<Profile> = (1..)
            .zip(names.iter().zip(counts))
            .map(|(id, (name, count))| profile(&i32::to_string(&id), name, count))
            .collect();
        list.sort_by_cached_key(|profile| order.position(profile));
        let whole = list.clone();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = tokens.open(&QUERY, 3, &token).unwrap();
            let cut = page.cut(list.len(), |n| order.position(&list[n]));
            seen.extend_from_slice(&list[cut.clone()]);
            if cut.end == list.len() {
                break;
            }
            list.retain(|profile| Some(profile) != seen.last());
            token = tokens.seal(&QUERY, &order.position(seen.last().unwrap())).unwrap();
        }
        assert_eq!(seen, whole);
    }

    proptest! {
        #[test]
        fn positions_compare_as_values(
            a in (".{0,6}", any::<Option<i64>>(), 1..3_u32),
            b in (".{0,6}", any::<Option<i64>>(), 1..3_u32),
        ) {
            let make = |(text, count, id): &(String, Option<i64>, u32)| Profile {
                description: Some(text.clone()),
                radio_access: vec![RadioAccess::RadioAccess2g.into()],
                ..profile(&id.to_string(), "", *count)
            };
            let (left, right) = (make(&a), make(&b));
            let order = OrderBy::parse("description desc, endpoint_count").unwrap();
            let unset_last = |count: Option<i64>| (count.is_none(), count);
            let expected = b.0.cmp(&a.0)
                .then(unset_last(a.1).cmp(&unset_last(b.1)))
                .then(a.2.cmp(&b.2));
            prop_assert_eq!(order.position(&left).cmp(&order.position(&right)), expected);
        }

        #[test]
        fn no_text_panics(text in "(name|state|,| |desc|asc|\\PC|é){0,20}") {
            let _ = OrderBy::parse(&text);
        }
    }
}

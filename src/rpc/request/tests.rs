//! What is counted, against what the decoder makes of the same bytes.

use proptest::{collection::vec, prelude::*};
use prost::Message as _;
use prost_types::{FieldMask, ListValue, Struct, Value, value::Kind};

use super::{
    bounds::{BOUNDS, MAX_UNKNOWN, reference},
    codec::schema,
    count::violations,
};
use crate::pb::{
    CreateProfileRequest, GetProfileRequest, PreviewWriteRequest, Profile, Service, TrafficLimit,
    UpdateProfileRequest, preview_write_request::Write,
};

/// The fields that are reported, and whether it was read to its end.
fn counted(request: &str, bytes: &[u8]) -> (Vec<String>, bool) {
    let schema = schema();
    let (violations, read) = violations(schema, schema.root(request).unwrap(), bytes);
    let shown = violations.into_iter().map(|one| format!("{}: {}", one.field, one.description));
    (shown.collect(), read)
}

fn fields(request: &str, bytes: &[u8]) -> Vec<String> {
    let (shown, read) = counted(request, bytes);
    assert!(read);
    shown.into_iter().map(|one| one.split(": ").next().unwrap().to_owned()).collect()
}

fn create(profile: Profile) -> Vec<u8> {
    CreateProfileRequest { profile: Some(profile), ..Default::default() }.encode_to_vec()
}

fn limits(count: usize) -> Service {
    Service { traffic_limits: vec![TrafficLimit::default(); count], ..Default::default() }
}

fn list(count: usize) -> Value {
    let values = vec![Value { kind: Some(Kind::NullValue(0)) }; count];
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn unmapped(values: Vec<Value>) -> Profile {
    let fields = values.into_iter().enumerate().map(|(n, value)| (format!("k{n}"), value));
    Profile { unmapped: Some(Struct { fields: fields.collect() }), ..Default::default() }
}

#[test]
fn every_repeated_field_of_a_request_has_a_bound() {
    // The entries of a map are counted as the map.
    assert_eq!(schema().repeated_without_a_bound(), Vec::<&str>::new());
    for bound in &BOUNDS {
        let field = bound.field.rsplit('.').next().unwrap();
        assert!(reference().contains(&format!(".{field}` | {}", bound.most)), "{field}");
    }
}

#[test]
fn each_bound_is_the_last_that_is_taken_and_names_its_field() {
    let services = |count| Profile { services: vec![limits(0); count], ..Default::default() };
    let radio = |count| Profile { radio_access: vec![1; count], ..Default::default() };
    let data = |count| Profile { data_limits: vec![<_>::default(); count], ..Default::default() };
    let one = |count| Profile { services: vec![limits(0), limits(count)], ..Default::default() };
    let mask = |count| {
        let read_mask = Some(FieldMask { paths: vec![String::new(); count] });
        GetProfileRequest { name: "a".into(), read_mask }.encode_to_vec()
    };
    type Encoded<'a> = &'a dyn Fn(usize) -> Vec<u8>;
    let cases: [(&str, usize, &str, Encoded<'_>); 8] = [
        ("profile.services", 64, "CreateProfileRequest", &|n| create(services(n))),
        ("profile.radio_access", 16, "CreateProfileRequest", &|n| create(radio(n))),
        ("profile.data_limits", 64, "CreateProfileRequest", &|n| create(data(n))),
        ("profile.services[1].traffic_limits", 64, "CreateProfileRequest", &|n| create(one(n))),
        ("read_mask", 256, "GetProfileRequest", &mask),
        ("profile.unmapped", 4096, "CreateProfileRequest", &|n| create(unmapped(vec![list(n)]))),
        ("profile.unmapped", 4096, "CreateProfileRequest", &|n| {
            create(unmapped(vec![Value::default(); n]))
        }),
        ("create.profile.services", 64, "PreviewWriteRequest", &|n| {
            let create = CreateProfileRequest { profile: Some(services(n)), ..Default::default() };
            PreviewWriteRequest { write: Some(Write::Create(create)) }.encode_to_vec()
        }),
    ];
    for (field, most, request, encoded) in cases {
        assert_eq!(fields(request, &encoded(most)), Vec::<String>::new(), "{field}");
        assert_eq!(fields(request, &encoded(most + 1)), [field], "{most}");
    }
}

#[test]
fn what_adds_up_is_counted_together() {
    // A list in the unpacked and the packed form.
    let mut bytes = [0x40, 1].repeat(8);
    bytes.extend([0x42, 9]);
    bytes.extend([1; 9]);
    let profile = |bytes: &[u8]| {
        let mut request = vec![0x12, u8::try_from(bytes.len()).unwrap()];
        request.extend(bytes);
        request
    };
    assert_eq!(fields("CreateProfileRequest", &profile(&bytes)), ["profile.radio_access"]);
    assert_eq!(fields("CreateProfileRequest", &profile(&bytes[2..])), Vec::<String>::new());
    // Parts of one message, which the decoder merges.
    let half = Profile { services: vec![limits(0); 33], ..Default::default() };
    let twice = [create(half.clone()), create(half)].concat();
    assert_eq!(CreateProfileRequest::decode(&*twice).unwrap().profile.unwrap().services.len(), 66);
    assert_eq!(fields("CreateProfileRequest", &twice), ["profile.services"]);
    // Few in each service, and many in all.
    let many = Profile { services: vec![limits(16); 63], ..Default::default() };
    let (shown, _) = counted("CreateProfileRequest", &create(many));
    let expected = "has more than 1000 elements in one request";
    assert_eq!(shown, [format!("profile.services[62].traffic_limits: {expected}")]);
    // Members within members.
    let nested = unmapped(vec![list(2000), list(2000), list(97)]);
    assert_eq!(fields("CreateProfileRequest", &create(nested)), ["profile.unmapped"]);
    // Everything that is wrong is said.
    let both = UpdateProfileRequest {
        profile: Some(Profile {
            services: vec![limits(65); 65],
            radio_access: vec![1; 17],
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec![String::new(); 300] }),
        ..Default::default()
    };
    assert_eq!(fields("UpdateProfileRequest", &both.encode_to_vec()).len(), 8);
}

#[test]
fn unknown_fields_are_counted_too() {
    let known = GetProfileRequest { name: "a".into(), read_mask: None }.encode_to_vec();
    for unknown in [&[0x78, 1][..], &[0x7a, 0], &[0x7d, 0, 0, 0, 0], &[0x7b, 0x7c]] {
        // A group has a key at each of its ends.
        let each = if unknown == [0x7b, 0x7c] { 2 } else { 1 };
        let most = MAX_UNKNOWN as usize / each;
        let bytes = |count| [&*known, &unknown.repeat(count)].concat();
        assert!(GetProfileRequest::decode(&*bytes(most + 1)).is_ok(), "{unknown:?}");
        assert_eq!(fields("GetProfileRequest", &bytes(most)), Vec::<String>::new());
        assert_eq!(fields("GetProfileRequest", &bytes(most + 1)), ["*"], "{unknown:?}");
    }
}

proptest! {
    /// If the counting ends early, so does the decoder: nothing is built that was not counted.
    #[test]
    fn the_decoder_goes_no_further_than_the_counting(
        profile in vec(any::<u8>(), 0..40),
        cut in any::<prop::sample::Index>(),
        bytes in vec(any::<u8>(), 0..60),
    ) {
        let mut valid = create(unmapped(vec![list(3), Value::default()]));
        let at = cut.index(valid.len());
        valid.splice(at..at, profile);
        for bytes in [bytes, valid] {
            let (_, read) = counted("CreateProfileRequest", &bytes);
            let decoded = CreateProfileRequest::decode(&*bytes);
            prop_assert!(read || decoded.is_err(), "{bytes:?}");
        }
    }
}

#[test]
fn depth_is_left_to_the_decoder() {
    for depth in [10, 99, 120, 1000] {
        let mut value = list(1);
        for _ in 0..depth {
            value = Value { kind: Some(Kind::ListValue(ListValue { values: vec![value] })) };
        }
        let bytes = create(unmapped(vec![value]));
        let (shown, read) = counted("CreateProfileRequest", &bytes);
        assert!(shown.is_empty());
        assert!(read || CreateProfileRequest::decode(&*bytes).is_err(), "{depth}");
    }
}

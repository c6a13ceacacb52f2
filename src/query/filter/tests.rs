//! What filters match, what they reject, and that no text or profile makes them panic.

mod fields;
mod properties;
mod refusals;

use prost_types::{ListValue, Struct, Value, value::Kind};

use super::*;
use crate::pb::{
    BreakoutRegion, Category, EsmeInterface, NetworkSettings, RadioAccess, Service, ServiceType,
    SmsSettings, State, TrafficLimit,
};

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.message()))
}

fn json(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn members<const N: usize>(members: [(&str, Kind); N]) -> Struct {
    Struct { fields: members.map(|(key, kind)| (key.to_owned(), json(kind))).into() }
}

fn service(kind: ServiceType, volumes: &[i64]) -> Service {
    let limit = |volume| TrafficLimit { volume: Some(volume), ..TrafficLimit::default() };
    Service {
        id: (kind as i32).to_string(),
        r#type: kind.into(),
        traffic_limits: volumes.iter().copied().map(limit).collect(),
        ..Service::default()
    }
}

/// A profile with a value of every type, and many fields unset.
fn sample() -> Profile {
    let region = BreakoutRegion {
        id: "3".into(),
        ip_address: Some("10.0.0.1".into()),
        ..Default::default()
    };
    Profile {
        name: "backends/sft/profiles/SP_343".into(),
        display_name: "MVNE Gold (EU)".into(),
        description: Some("Zürich: 100% a*b".into()),
        state: State::Active.into(),
        category: Category::Base.into(),
        default_profile: Some(false),
        radio_access: vec![RadioAccess::RadioAccess2g.into(), RadioAccess::RadioAccess4g.into()],
        services: vec![service(ServiceType::Data, &[50, 200]), service(ServiceType::SmsMo, &[7])],
        sms: Some(SmsSettings {
            p2p_internal: Some(true),
            esme_interface: Some(EsmeInterface {
                id: "2".into(),
                description: Some(String::new()),
            }),
            ..SmsSettings::default()
        }),
        network: Some(NetworkSettings { breakout_region: Some(region), ..Default::default() }),
        endpoint_count: Some(-30),
        etag: "\"abc\"".into(),
        unmapped: Some(members([
            ("word", Kind::StringValue("x y".into())),
            ("five", Kind::NumberValue(5.0)),
            ("digits", Kind::StringValue("10".into())),
            ("on", Kind::BoolValue(true)),
            ("nothing", Kind::NullValue(0)),
            ("a.b", Kind::StringValue("dotted".into())),
            (
                "list",
                Kind::ListValue(ListValue {
                    values: vec![
                        json(Kind::StringValue("one".into())),
                        json(Kind::StructValue(members([("deep", Kind::NumberValue(1.5))]))),
                    ],
                }),
            ),
            ("inner", Kind::StructValue(members([("key", Kind::StringValue("v".into()))]))),
        ])),
        ..Profile::default()
    }
}

fn table(yes: &[&str], no: &[&str]) {
    let sample = sample();
    yes.iter().for_each(|text| assert!(filter(text).matches(&sample), "should match: {text}"));
    no.iter().for_each(|text| assert!(!filter(text).matches(&sample), "should not match: {text}"));
}

#[test]
fn logic() {
    table(
        &[
            "",
            " \n\t ",
            "state = ACTIVE AND services.type : DATA",
            "state = ACTIVE services.type : DATA",
            "state = INACTIVE OR state = ACTIVE",
            // If AND bound tighter, these would be true OR …, and … OR true.
            "NOT (state = ACTIVE OR state = ACTIVE AND state = INACTIVE) ",
            "state = ACTIVE AND state = INACTIVE OR state = ACTIVE",
            "NOT state = INACTIVE",
            "-state = INACTIVE",
            "-(state = INACTIVE)",
            "NOT(state=INACTIVE)",
            "(state=ACTIVE)AND(category=BASE)",
            "(state=ACTIVE)(category=BASE)",
            "((((state = ACTIVE))))",
            "state=ACTIVE AND\ncategory=BASE",
        ],
        &[
            "state = ACTIVE OR state = ACTIVE AND state = INACTIVE",
            "state = INACTIVE state = ACTIVE",
            "NOT state = ACTIVE",
            "-state = ACTIVE",
            "NOT state = ACTIVE OR state = INACTIVE",
        ],
    );
}

#[test]
fn texts() {
    table(
        &[
            "display_name = \"MVNE*\"",
            "display_name = 'MVNE Gold (EU)'",
            "display_name : \"*Gold*\"",
            "display_name = *EU*",
            "display_name != \"mvne*\"",
            "display_name > M",
            "display_name <= 'MVNE Gold (EU)'",
            r#"description = "*a\*b""#,
            r"description != 'Zürich: 100% a\*'",
            r#"etag = "\"abc\"""#,
            "name = backends/sft/profiles/SP_343",
            "name = */profiles/SP_*",
            "network.breakout_region.ip_address = 10.0.0.1",
            "network.breakout_region.id = \"3\"",
            "network.breakout_region.id=3",
            "sms.esme_interface.description = ''",
            "description = Zürich*",
        ],
        &[
            "display_name = \"mvne*\"",
            "display_name = MVNE",
            "display_name : MVNE",
            "display_name != *",
            "display_name < MVNE",
            r"description = 'Zürich: 100% a\*'",
            "display_name = ''",
        ],
    );
}

#[test]
fn other_scalars() {
    table(
        &[
            "state = STATE_ACTIVE",
            "state = 'ACTIVE'",
            "state : ACTIVE",
            "state != INACTIVE",
            "default_profile = false",
            "default_profile != true",
            "sms.p2p_internal : true",
            "endpoint_count = -30",
            "endpoint_count>=-30",
            "endpoint_count < 0 AND endpoint_count > \"-31\"",
            "endpoint_count != 9223372036854775807",
        ],
        &[
            "default_profile = true",
            "endpoint_count > 0",
            "endpoint_count != -30",
            "category != BASE",
        ],
    );
}

#[test]
fn unset_is_neither_equal_nor_unequal() {
    table(
        &[
            "NOT retail = true",
            "NOT retail != true",
            "NOT payment_type = PREPAID",
            "NOT payment_type : *",
            "NOT quotas.data : *",
            "NOT quotas : *",
            "sms.esme_interface.description : *",
            "description : *",
            "sms : *",
            "services : *",
            "services.traffic_limits : *",
            "NOT services.traffic_type : *",
            "NOT services.description != x",
        ],
        &[
            "retail = false",
            "retail != false",
            "payment_type != PREPAID",
            "network.dns.ip_version < 9",
            "network.dns.ip_version >= 0",
            "network.dns.id != x",
            "network.dns : *",
            "subscriber.locale = ''",
            "dialect != PCC",
            "callbacks.api.url = *",
        ],
    );
}

#[test]
fn several_values() {
    table(
        &[
            "radio_access : 4G",
            "radio_access : RADIO_ACCESS_4G AND radio_access : 2G",
            "radio_access = 2G",
            "radio_access != 5G",
            "services.type : DATA",
            "services.type != VOICE",
            "services.traffic_limits.volume > 100",
            "services.traffic_limits.volume = 7",
            "services.type : SMS_MO services.traffic_limits.volume > 100",
            "services.id : 1",
        ],
        &[
            "radio_access : 5G",
            "radio_access != 4G",
            "services.type != DATA",
            "services.traffic_limits.volume > 200",
            "services.used_with_vlr = false",
        ],
    );
}

#[test]
fn members_of_unmapped() {
    table(
        &[
            "unmapped : *",
            "unmapped : word",
            "unmapped : wo*",
            "unmapped.word = \"x y\"",
            "unmapped.word = x*",
            "unmapped.word : *",
            "unmapped.nothing : *",
            "unmapped.nothing = null",
            "unmapped.five = 5",
            "unmapped.five = 5.0",
            "unmapped.five > 4.9",
            "unmapped.digits = 10",
            "unmapped.digits = '10'",
            "unmapped.digits > 9",
            "unmapped.on = true",
            "unmapped.on != false",
            "unmapped.'a.b' = dotted",
            "unmapped.list : one",
            "unmapped.list.deep > 1",
            "unmapped.inner.key = v",
            "unmapped.inner : key",
            "unmapped.word > w",
            "NOT unmapped.absent = x",
            "NOT unmapped.absent != x",
        ],
        &[
            "unmapped : absent",
            "unmapped.absent : *",
            "unmapped.absent != x",
            "unmapped.word.deeper : *",
            "unmapped.word = X*",
            "unmapped.five = '5'",
            "unmapped.on = 'true'",
            "unmapped.nothing = 'null'",
            "unmapped.digits > '9'",
            "unmapped.word > 5",
            "unmapped.list != one",
            "unmapped.inner = key",
            "unmapped.on > false",
            "unmapped.five = nan",
        ],
    );
}

#[test]
fn texts_without_a_field_are_searched_for() {
    table(
        &[
            "gold",
            "\"gold (eu)\"",
            "ZÜRICH gold",
            "GO*EU",
            "-silver",
            "silver OR gold",
            r"'A\*B'",
            "100%",
        ],
        &["silver", "gold silver", "-gold", "SP_343", "eu*gold"],
    );
}

#[test]
fn texts_are_put_into_lower_case_once_however_many_words_are_searched() {
    let words = (0..128).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" OR ");
    let filter = filter(&words);
    let profile = Profile { display_name: "X".repeat(1000), ..Profile::default() };
    assert_eq!(compile::work::of(|| assert!(!filter.matches(&profile))), 1);
    let other = super::Filter::parse("display_name = x").unwrap();
    assert_eq!(compile::work::of(|| assert!(!other.matches(&profile))), 0);
}

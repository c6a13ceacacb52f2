//! Members of `unmapped` as callers ask for them: numbers of any length, and keys of any spelling.

use profile_gateway::pb::{GetProfileRequest, ListProfilesRequest, Profile};
use prost_types::value::Kind;
use tonic::{Code, Status};

use crate::kit::{
    bodies,
    double::{self, Double, GET, LIST, double},
    gateway::{self, Gateway, fresh},
    model::{self, mask},
    status::fails,
};

/// Profiles with these members beside their own, as JSON text.
async fn with(members: &[&str]) -> (Double, Gateway) {
    let items: Vec<_> =
        (1..=members.len()).map(|n| bodies::profile(&format!("SP_{n}"), "one")).collect();
    let mut body = bodies::profiles(&items).to_string();
    for (n, members) in members.iter().enumerate() {
        let id = format!("\"profileId\":\"SP_{}\"", n + 1);
        assert!(body.contains(&id), "{body}");
        body = body.replace(&id, &format!("{id},{members}"));
    }
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let answer = double::http(200, "application/json", body);
    upstream.always(LIST, answer.clone()).always(GET, answer);
    (upstream, gateway)
}

async fn found(gateway: &Gateway, filter: &str) -> Vec<String> {
    let request = ListProfilesRequest { filter: filter.to_owned(), ..model::list(model::BACKEND) };
    let list = gateway.profiles.clone().list_profiles(request).await.unwrap().into_inner();
    let id = |profile: &Profile| profile.name.rsplit('_').next().unwrap().to_owned();
    list.profiles.iter().map(id).collect()
}

#[tokio::test]
async fn numbers_of_any_length_are_compared_exactly() {
    let (_upstream, gateway) = with(&[
        r#""iccid":89310800190734900001"#,
        r#""iccid":89310800190734900002"#,
        r#""iccid":"89310800190734900003""#,
        r#""iccid":9007199254740992"#,
        r#""iccid":9007199254740993"#,
        r#""iccid":7"#,
        r#""iccid":"0007""#,
        r#""iccid":"7.0""#,
        r#""iccid":"0x7""#,
        r#""iccid":12345678901234567890.25"#,
    ])
    .await;
    for (filter, expected) in [
        ("unmapped.iccid = 89310800190734900001", &["1"][..]),
        ("unmapped.iccid = 89310800190734900003", &["3"]),
        ("unmapped.iccid = 9007199254740993", &["5"]),
        ("unmapped.iccid = 9007199254740992", &["4"]),
        ("unmapped.iccid != 9007199254740993", &["1", "2", "3", "4", "6", "7", "8", "9", "10"]),
        ("unmapped.iccid > 89310800190734900001", &["2", "3"]),
        ("unmapped.iccid >= 12345678901234567890.25", &["1", "2", "3", "10"]),
        ("unmapped.iccid > 12345678901234567890.25", &["1", "2", "3"]),
        ("unmapped.iccid < 9007199254740993", &["4", "6", "7", "8"]),
        ("unmapped.iccid = 7", &["6", "7", "8"]),
        ("unmapped.iccid = 0007", &["6", "7", "8"]),
        ("unmapped.iccid = 70e-1", &["6", "7", "8"]),
        ("unmapped.iccid = \"7.0\"", &["8"]),
        ("unmapped.iccid = \"0007\"", &["7"]),
        ("unmapped.iccid = 0x7", &["9"]),
    ] {
        assert_eq!(found(&gateway, filter).await, expected, "{filter}");
    }
    let request = ListProfilesRequest {
        order_by: "unmapped.iccid".to_owned(),
        ..model::list(model::BACKEND)
    };
    let refused = gateway.profiles.clone().list_profiles(request).await;
    fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
}

async fn masked(gateway: &Gateway, path: &str) -> Result<Profile, Status> {
    let request = GetProfileRequest { name: model::name("SP_1"), read_mask: Some(mask(&[path])) };
    gateway.profiles.clone().get_profile(fresh(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_mask_gives_the_member_that_it_names() {
    let (_upstream, gateway) =
        with(&[r#""futureKey":"f","a.b":"dots","a":{"c":"inner","d":{"e":"deep"}},"q`r":"q""#])
            .await;
    for (path, keys, value) in [
        ("unmapped.futureKey", &["futureKey"][..], "f"),
        ("unmapped.`a.b`", &["a.b"], "dots"),
        ("unmapped.a.b", &["a.b"], "dots"),
        ("unmapped.a.c", &["a", "c"], "inner"),
        ("unmapped.a.d.e", &["a", "d", "e"], "deep"),
        ("unmapped.`q``r`", &["q`r"], "q"),
    ] {
        let profile = masked(&gateway, path).await.unwrap();
        assert_eq!(profile.display_name, "", "{path}");
        let mut members = profile.unmapped.unwrap_or_else(|| panic!("nothing at {path}"));
        let (last, outer) = keys.split_last().unwrap();
        for key in outer {
            assert_eq!(members.fields.len(), 1, "{path}");
            let Some(Kind::StructValue(inner)) = members.fields[*key].kind.clone() else {
                panic!("{path}: {members:?}")
            };
            members = inner;
        }
        assert_eq!(members.fields.len(), 1, "{path}");
        assert_eq!(members.fields[*last].kind, Some(Kind::StringValue(value.into())), "{path}");
    }
    assert_eq!(masked(&gateway, "unmapped.nothing").await.unwrap().unmapped, None);
    for path in ["unmapped.", "unmapped..a", "unmapped.`a", "unmapped.`a`b", "unmapped.a."] {
        fails(masked(&gateway, path).await, Code::InvalidArgument, "VALIDATION_FAILED");
    }
}

//! What a failed write says of itself: which profile it is about, what its caller can do, and when.

use std::time::Duration;

use profile_gateway::pb::{CreateProfileRequest, Profile};
use serde_json::json;
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{self, Bench, id},
        samples::registered,
    },
    kit::{
        bodies,
        double::{self, Answer, CREATE, Double, GET, LIST, MODIFY, double},
        gateway::{Gateway, gateway},
        model::{named, profile},
        status::{Failure, fails, failure},
    },
};

const ID: &str = "123e4567-e89b-12d3-a456-426614174abc";

async fn within(time: &str, lines: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let server = format!("default_timeout = \"{time}\"");
    let gateway = gateway().server(&server).fixed("sft", &upstream.base_url, lines).start().await;
    (upstream, gateway)
}

async fn create(gateway: &Gateway, name: &str, request_id: &str) -> Result<Profile, Status> {
    let request = CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile(name)),
        request_id: request_id.to_owned(),
        validate_only: false,
    };
    gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
}

fn nothing() -> Answer {
    double::json(bodies::profiles(&[]))
}

#[track_caller]
fn says(failed: &Failure, texts: &[&str]) {
    for text in texts {
        assert!(failed.message.contains(text), "no `{text}` in {failed:#?}");
    }
}

#[tokio::test]
async fn what_to_do_in_doubt_depends_on_whether_a_repeat_is_recognized() {
    for (request_id, advice) in [
        ("", "look for the display name \"same\" in backends/sft before you create it again"),
        (ID, "retry with the same request_id"),
    ] {
        let (upstream, gateway) = within("1500ms", "").await;
        upstream.then(LIST, nothing()).then(CREATE, Answer::Close).always(LIST, nothing());
        let failed = failure(create(&gateway, "same", request_id).await);
        assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN");
        says(&failed, &["creating \"same\": the write may or may not have taken effect; ", advice]);
        assert_eq!(
            failed.message.matches("request_id").count(),
            usize::from(!request_id.is_empty())
        );
        assert_eq!((failed.meta("display_name"), failed.retry), ("same", None));
    }
    let (upstream, gateway) = within("1500ms", "").await;
    let old = double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]));
    upstream.then(MODIFY, Answer::Close).always(GET, old);
    let renamed = Profile { display_name: "new".into(), ..named("SP_1") };
    let failed = failure(gateway.update(renamed).await);
    assert_eq!(failed.resource.as_deref(), Some("backends/sft/profiles/SP_1"));
    says(&failed, &["; read the profile before you write it again: "]);
}

#[tokio::test]
async fn a_repeat_in_doubt_says_when_it_is_sent_again() {
    let (upstream, gateway) = within("1500ms", "").await;
    upstream.then(LIST, nothing()).then(CREATE, Answer::Close).always(LIST, nothing());
    fails(create(&gateway, "same", ID).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    let failed = failure(create(&gateway, "same", ID).await);
    assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN");
    let wait = failed.retry.unwrap();
    assert!(Duration::ZERO < wait && wait <= Duration::from_secs(60), "{wait:?}");
    let shown = format!(", in {}s, sends it again if that does not show: ", wait.as_secs());
    let shown = shown.replace("in 60s", "in 1m");
    let looks = "; a repeat with the same request_id looks for its effect first, and from 20";
    says(&failed, &[looks, &shown, "nothing was sent again"]);
    assert_eq!(upstream.count(CREATE), 1);
}

#[tokio::test]
async fn a_creation_that_does_not_show_names_what_was_to_be_created() {
    let (upstream, gateway) = within("20s", "settle_time = \"1s\"").await;
    upstream.always(LIST, nothing()).always(GET, nothing());
    upstream.always(CREATE, double::json(bodies::created("SP_5")));
    let failed = failure(gateway.create(profile("same")).await);
    assert_eq!(failed.reason, "WRITE_NOT_APPLIED", "{failed:#?}");
    says(&failed, &["creating \"same\": ", " 1s later its reads still show no such profile"]);
    assert_eq!(failed.meta("display_name"), "same");
}

#[tokio::test]
async fn a_profile_that_may_be_the_created_one_is_named() {
    // The answer names a profile that was there before.
    let (upstream, gateway) = within("20s", "settle_time = \"1s\"").await;
    let (old, cut) =
        (bodies::profile("SP_77", "other"), bodies::profile("SP_78", "A fleet of twenty tr"));
    upstream
        .then(LIST, double::json(bodies::profiles(std::slice::from_ref(&old))))
        .always(CREATE, double::json(bodies::created("SP_77")))
        .always(LIST, double::json(bodies::profiles(&[old, cut])));
    let failed = failure(gateway.create(profile("A fleet of twenty trucks")).await);
    assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN", "{failed:#?}");
    let candidate = "backends/sft/profiles/SP_78";
    assert_eq!(
        (failed.meta("candidates"), failed.resource.as_deref()),
        (candidate, Some(candidate))
    );
    says(&failed, &[candidate, "creating \"A fleet of twenty trucks\": a profile was not there"]);
}

async fn validated(bench: &Bench, profile: Profile) -> Result<Profile, Status> {
    let request = CreateProfileRequest {
        parent: bench.parent(),
        profile: Some(profile),
        validate_only: true,
        ..CreateProfileRequest::default()
    };
    bench.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_with_the_profile_that_has_it() {
    for sample in registered().into_iter().filter(|sample| sample.unique_names) {
        let bench = bench::within("20s", sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let twin = Profile { display_name: there.display_name.clone(), ..bench.full() };
        for failed in
            [failure(bench.create(twin.clone()).await), failure(validated(&bench, twin).await)]
        {
            assert!(failed.is(Code::AlreadyExists, "PROFILE_ALREADY_EXISTS"), "{failed:#?}");
            assert_eq!(failed.meta("existing_profile"), there.name);
            says(&failed, &[&format!("; it is {}", there.name)]);
        }
    }
}

#[tokio::test]
async fn what_is_left_of_a_creation_is_named_as_a_resource() {
    let sample = registered().into_iter().find(|sample| sample.upstream == "endpoint").unwrap();
    let bench = bench::within("20s", sample).await;
    let refused = json!({"kind": "status", "status": 422,
        "body": "{\"error_code\": 1406, \"message\": \"Not allowed\"}"});
    bench.arm("PutService", &refused, 1).await;
    bench.arm("DeleteProfile", &refused, 0).await;
    let failed = failure(bench.create(bench.full()).await);
    assert_eq!(failed.reason, "PARTIALLY_APPLIED", "{failed:#?}");
    let name = failed.resource.clone().unwrap();
    assert_eq!(name, format!("backends/endpoint/profiles/{}", failed.meta("profile_id")));
    says(&failed, &[&format!("{name}: the profile is left incomplete")]);
    assert_eq!(id(&Profile { name, ..Profile::default() }), failed.meta("profile_id"));
}

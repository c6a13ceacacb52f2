//! Writes that operators have disabled.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use profile_gateway::pb::{
    AttachServiceRequest, AttachTrafficLimitRequest, CreateProfileRequest, DeleteProfileRequest,
    DetachServiceRequest, DetachTrafficLimitRequest, LeverKind, PreviewWriteRequest, Profile,
    TrafficLimit, UpdateProfileRequest, preview_write_request::Write,
};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::{counted, end, in_force, operated, set, shown};
use crate::{
    conformance::samples::{self, Sample, registered},
    kit::{
        bodies::{self, fixture},
        double::{self, Answer, DELETE, GET, MODIFY, double},
        gateway::Gateway,
        later,
        model::{self, rename, service_id},
        sandbox::{Sandbox, sandbox},
        status::{Failure, fails, failure},
        until,
    },
};

const ID: &str = "123e4567-e89b-12d3-a456-426614174abc";

async fn over_all(sandbox: &Sandbox) -> Gateway {
    operated().section(&sandbox.config()).start().await
}

/// Calls each method that writes; says how it failed.
async fn write_all(gateway: &Gateway, sample: &Sample) -> Vec<(&'static str, Failure)> {
    let (mut client, upstream) = (gateway.profiles.clone(), sample.upstream);
    let parent = format!("backends/{upstream}");
    let name = format!("{parent}/profiles/{}", sample.in_use);
    let full = Profile { display_name: "New".into(), ..samples::profile((sample.full)()) };
    let profile =
        Some(Profile { name: name.clone(), display_name: "New".into(), ..<_>::default() });
    let (service, limit) =
        (Some(service_id("32")), Some(TrafficLimit { id: "1".into(), ..<_>::default() }));
    let create = CreateProfileRequest { parent, profile: Some(full), ..<_>::default() };
    let update = UpdateProfileRequest { profile, ..<_>::default() };
    let delete = DeleteProfileRequest { name: name.clone(), ..<_>::default() };
    let attach =
        AttachServiceRequest { name: name.clone(), service: service.clone(), ..<_>::default() };
    let detach =
        DetachServiceRequest { name: name.clone(), service: service.clone(), ..<_>::default() };
    let attach_limit = AttachTrafficLimitRequest {
        name: name.clone(),
        service: service.clone(),
        traffic_limit: limit.clone(),
        ..<_>::default()
    };
    let detach_limit =
        DetachTrafficLimitRequest { name, service, traffic_limit: limit, ..<_>::default() };
    let unit = |result: Result<_, Status>| failure(result.map(|_: tonic::Response<_>| ()));
    vec![
        ("CreateProfile", failure(client.create_profile(create).await)),
        ("UpdateProfile", failure(client.update_profile(update).await)),
        ("DeleteProfile", unit(client.delete_profile(delete).await)),
        ("AttachService", failure(client.attach_service(attach).await)),
        ("DetachService", failure(client.detach_service(detach).await)),
        ("AttachTrafficLimit", failure(client.attach_traffic_limit(attach_limit).await)),
        ("DetachTrafficLimit", failure(client.detach_traffic_limit(detach_limit).await)),
    ]
}

#[tokio::test]
async fn every_method_that_writes_is_refused_and_nothing_is_sent() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox).await;
    set(&gateway, "/writes/freeze?for=10m&note=INC-7").await;
    let mut refused = BTreeSet::new();
    for sample in registered() {
        for (method, failed) in write_all(&gateway, &sample).await {
            if failed.reason == "OPERATION_NOT_SUPPORTED" {
                continue;
            }
            assert!(failed.is(Code::FailedPrecondition, "WRITES_DISABLED"), "{failed:#?}");
            assert!(failed.message.contains("(INC-7)"), "{failed:#?}");
            assert!(failed.meta("until").ends_with('Z'), "{failed:#?}");
            let retry = failed.retry.unwrap();
            assert!(retry > Duration::ZERO && retry <= Duration::from_secs(600), "{failed:#?}");
            refused.insert(method);
        }
        assert_eq!(shown(&gateway, sample.upstream).await, [LeverKind::WritesFrozen]);
        let status = gateway.status(sample.upstream).await;
        assert!(status.last_error.is_none(), "no backend has failed: {status:?}");
        assert_eq!(status.levers[0].note, "INC-7");
        assert!(
            status.levers[0].expire_time.unwrap().seconds
                > status.levers[0].set_time.unwrap().seconds
        );
    }
    assert_eq!(refused.len(), 7, "{refused:?}");
    assert_eq!(sandbox.journal().await.len(), 0);
    assert!(counted(&gateway, "writes_frozen", "-").await);
}

#[tokio::test]
async fn a_backend_that_is_read_only_is_read_and_checked_and_others_are_written() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox).await;
    set(&gateway, "/backends/sft/read-only?for=10m").await;
    gateway.get("SP_361").await.unwrap();
    let mut client = gateway.profiles.clone();
    let checked = UpdateProfileRequest { validate_only: true, ..rename("SP_361", "Checked") };
    client.update_profile(checked).await.unwrap();
    let shown = PreviewWriteRequest { write: Some(Write::Update(rename("SP_361", "Shown"))) };
    client.preview_write(shown).await.unwrap();
    // What is wrong with a request is said first.
    let wrong = client.update_profile(rename("SP_361", &"x".repeat(10_000))).await;
    fails(wrong, Code::InvalidArgument, "VALIDATION_FAILED");
    let refused = client.update_profile(rename("SP_361", "Refused")).await;
    fails(refused, Code::FailedPrecondition, "WRITES_DISABLED");
    assert_eq!(sandbox.effects().await.len(), 0);

    for sample in registered().iter().filter(|sample| sample.upstream != "sft") {
        let full = samples::profile((sample.full)());
        let profile = Some(Profile { display_name: "New".into(), ..full });
        let parent = format!("backends/{}", sample.upstream);
        let request = CreateProfileRequest { parent, profile, ..<_>::default() };
        client.create_profile(request).await.unwrap();
        assert_eq!(super::shown(&gateway, sample.upstream).await, []);
    }
    assert!(counted(&gateway, "read_only", "sft").await);
    end(&gateway, "/backends/sft/read-only").await;
    client.update_profile(rename("SP_361", "Written")).await.unwrap();
    assert!(!counted(&gateway, "read_only", "sft").await);
}

#[tokio::test]
async fn it_ends_by_itself_and_leaves_no_trace_of_what_was_refused() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox).await;
    let mut client = gateway.profiles.clone();
    let with_id =
        |name: &str| UpdateProfileRequest { request_id: ID.into(), ..rename("SP_361", name) };
    set(&gateway, "/backends/sft/read-only?for=24h").await;
    let refused = client.update_profile(with_id("first")).await;
    fails(refused, Code::FailedPrecondition, "WRITES_DISABLED");
    later(Duration::from_secs(24 * 60 * 60 + 1)).await;
    assert_eq!((in_force(&gateway).await, shown(&gateway, "sft").await), (vec![], vec![]));
    assert!(!counted(&gateway, "read_only", "sft").await);
    // The id was not kept: it is good for another request.
    let done = client.update_profile(with_id("second")).await.unwrap().into_inner();
    set(&gateway, "/writes/freeze").await;
    let again = client.update_profile(with_id("second")).await.unwrap().into_inner();
    assert_eq!(again, done, "a repeat of what is done gets its answer");
    let other = client.update_profile(with_id("third")).await;
    fails(other, Code::InvalidArgument, "REQUEST_ID_REUSED");
    assert_eq!(sandbox.effects().await.len(), 1);
}

/// Many callers write while it is set: those that are sent end well, and no other is sent.
#[tokio::test]
async fn under_load_nothing_is_sent_once_it_is_set() {
    let upstream = double().await;
    let lines = "max_attempts = 1\nrequests_per_second = \"off\"\nmax_concurrent_calls = 8";
    let builder = operated().section("[callers]\nshare_percent = 100\n");
    let gateway = builder.fixed("sft", &upstream.base_url, lines).start().await;
    let gate = Arc::new(Semaphore::new(0));
    let deleted = Box::new(double::json(fixture("delete-success")));
    upstream.always(DELETE, Answer::Gated(Arc::clone(&gate), deleted)).always(
        GET,
        double::by(|seen| double::json(bodies::profiles(&[bodies::profile(seen.id(), "one")]))),
    );
    let delete = |n: usize| {
        let mut client = gateway.profiles.clone();
        let name = model::name(&format!("SP_{n}"));
        let request = DeleteProfileRequest { name, ..<_>::default() };
        tokio::spawn(async move { client.delete_profile(request).await.map(drop) })
    };
    let before: Vec<_> = (1..=40).map(delete).collect();
    until("some are sent", async || upstream.count(DELETE) == 8).await;
    set(&gateway, "/writes/freeze?for=1h").await;
    let after: Vec<_> = (41..=60).map(delete).collect();
    for refused in after {
        fails(refused.await.unwrap(), Code::FailedPrecondition, "WRITES_DISABLED");
    }
    gate.add_permits(100);
    let (mut done, mut refused) = (0, 0);
    for call in before {
        match call.await.unwrap() {
            Ok(()) => done += 1,
            result => {
                fails(result, Code::FailedPrecondition, "WRITES_DISABLED");
                refused += 1;
            }
        }
    }
    assert_eq!((done, done + refused, upstream.count(DELETE)), (upstream.count(DELETE), 40, done));
    assert_eq!(upstream.count(MODIFY), 0);
    end(&gateway, "/writes/freeze").await;
    delete(61).await.unwrap().unwrap();
}

//! The life of a profile, the methods, what the model cannot say, and all dialects in one list.

use std::collections::HashSet;

use profile_gateway::pb::{
    AttachServiceRequest, AttachTrafficLimitRequest, BatchGetProfilesRequest, DeleteProfileRequest,
    DetachServiceRequest, DetachTrafficLimitRequest, Dialect, DiffProfilesRequest,
    GetBackendRequest, ListProfilesRequest, ListServicesRequest, PreviewWriteRequest, Profile,
    Service, TrafficLimit, TranslateProfileRequest, WatchProfilesRequest,
    preview_write_request::Write,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{
    bench::{Bench, asked_of, bench, but_etag, id, with},
    samples::registered,
};
use crate::kit::{
    gateway,
    sandbox::sandbox,
    status::{fails, failure},
};

#[tokio::test]
async fn a_profile_round_trips_through_its_life() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let before = bench.list().await.unwrap();

        let asked = bench.full();
        let created = bench.create(asked.clone()).await.unwrap();
        assert_eq!(asked_of(&created), asked, "{what}");
        assert!(created.etag.starts_with('"') && created.etag.ends_with('"'), "{what}");
        assert_eq!(created.unmapped, None, "{what}: what the model says is not said twice");
        assert_eq!(bench.get(&created.name).await.unwrap(), created, "{what}");
        let listed = bench.list().await.unwrap();
        assert!(listed.contains(&created), "{what}: a list shows it as a get does");
        assert_eq!(listed.len(), before.len() + 1, "{what}");

        // What was read can be sent back as it is, and means nothing.
        let writes = bench.writes().await.len();
        assert_eq!(bench.update(created.clone(), &[]).await.unwrap(), created, "{what}");
        assert_eq!(bench.update(created.clone(), &["*"]).await.unwrap(), created, "{what}");
        assert_eq!(bench.writes().await.len(), writes, "{what}");

        let changed = change_everything(&bench, &created).await;
        assert!(bench.list().await.unwrap().contains(&changed), "{what}");
        bench.delete(&created.name).await.unwrap();
        let gone = bench.get(&created.name).await;
        fails(gone, Code::NotFound, "PROFILE_NOT_FOUND");
        assert_eq!(bench.list().await.unwrap(), before, "{what}: all else is as it was");
        assert!(bench.raw_named(&changed.display_name).await.is_empty(), "{what}");
    }
}

/// Replaces every updatable field at once.
async fn change_everything(bench: &Bench, there: &Profile) -> Profile {
    let (other, table) = (bench.other(), bench.capabilities().await.fields);
    let fixed = table.iter().filter(|f| f.support().as_str_name().ends_with("CREATE_ONLY"));
    let wanted = fixed.fold(other, |wanted, field| with(&wanted, &field.field, there));
    let request = Profile { name: there.name.clone(), ..wanted.clone() };
    let changed = bench.update(request, &["*"]).await.unwrap();
    assert_eq!(asked_of(&changed), wanted, "{}", bench.sample.dialect);
    assert_eq!(bench.get(&there.name).await.unwrap(), changed, "{}", bench.sample.dialect);
    changed
}

#[tokio::test]
async fn a_stale_etag_stops_a_write() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let created = bench.create(bench.full()).await.unwrap();
        let renamed = Profile { display_name: bench.full().display_name, ..created.clone() };
        let changed = bench.update(renamed.clone(), &["display_name"]).await.unwrap();
        let writes = bench.writes().await.len();
        let again = Profile { display_name: bench.full().display_name, ..renamed };
        let stale = bench.update(again, &["display_name"]).await;
        fails(stale, Code::Aborted, "ETAG_MISMATCH");
        assert_eq!(bench.writes().await.len(), writes, "{what}");
        assert_eq!(bench.get(&created.name).await.unwrap(), changed, "{what}");
    }
}

#[tokio::test]
async fn ids_that_are_not_there_are_not_found() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let missing = bench.name(sample.missing);
        let renamed = Profile { name: missing.clone(), ..bench.full() };
        for failed in [
            failure(bench.get(&missing).await),
            failure(bench.update(renamed, &["display_name"]).await),
            failure(bench.delete(&missing).await),
        ] {
            assert!(failed.is(Code::NotFound, "PROFILE_NOT_FOUND"), "{what}: {failed:#?}");
            assert_eq!(failed.resource.as_deref(), Some(missing.as_str()), "{what}");
        }
        let seen = bench.sandbox.journal().await.len();
        for impossible in sample.impossible {
            let name = bench.name(impossible);
            let renamed = Profile { name: name.clone(), ..bench.full() };
            for failed in [
                failure(bench.get(&name).await),
                failure(bench.update(renamed, &["display_name"]).await),
                failure(bench.delete(&name).await),
            ] {
                assert!(failed.is(Code::NotFound, "PROFILE_NOT_FOUND"), "{what}: {failed:#?}");
            }
        }
        assert_eq!(bench.sandbox.journal().await.len(), seen, "{what}: asked upstream");
        let seeded = bench.get(&bench.name(sample.in_use)).await.unwrap();
        let failed =
            fails(bench.delete(&seeded.name).await, Code::FailedPrecondition, "PROFILE_IN_USE");
        assert_eq!(failed.resource.as_ref(), Some(&seeded.name), "{what}");
        assert_eq!(bench.get(&seeded.name).await.unwrap(), seeded, "{what}");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused() {
    for sample in registered().into_iter().filter(|sample| sample.unique_names) {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let first = bench.create(bench.full()).await.unwrap();
        let second = bench.create(bench.full()).await.unwrap();
        let twin = Profile { display_name: first.display_name.clone(), ..bench.full() };
        let renamed = Profile { name: second.name.clone(), ..twin.clone() };
        for result in [bench.create(twin).await, bench.update(renamed, &["display_name"]).await] {
            fails(result, Code::AlreadyExists, "PROFILE_ALREADY_EXISTS");
        }
        assert_eq!(bench.raw_named(&first.display_name).await.len(), 1, "{what}");
        assert_eq!(bench.get(&second.name).await.unwrap(), second, "{what}");
    }
}

/// Calls a method on a profile that is there, with requests that are right where it is supported.
async fn call(bench: &Bench, method: &str, there: &Profile) -> Result<(), Status> {
    let (name, mut profiles) = (there.name.clone(), bench.gateway.profiles.clone());
    let [service, limit] = spare(bench).await;
    match method {
        "GetProfile" => bench.get(&name).await.map(drop),
        "ListProfiles" => bench.list().await.map(drop),
        "CreateProfile" => bench.create(bench.full()).await.map(drop),
        "UpdateProfile" => {
            let display_name = bench.full().display_name;
            let renamed = Profile { display_name, name, ..Profile::default() };
            bench.update(renamed, &[]).await.map(drop)
        }
        "DeleteProfile" => {
            let another = bench.create(bench.full()).await?;
            bench.delete(&another.name).await
        }
        "AttachService" => {
            let request = AttachServiceRequest { name, service, ..Default::default() };
            profiles.attach_service(request).await.map(drop)
        }
        "DetachService" => {
            let request = DetachServiceRequest { name, service, ..Default::default() };
            profiles.detach_service(request).await.map(drop)
        }
        "AttachTrafficLimit" => {
            let traffic_limit = limit.and_then(|s| s.traffic_limits.into_iter().next());
            let request =
                AttachTrafficLimitRequest { name, service, traffic_limit, ..Default::default() };
            profiles.attach_traffic_limit(request).await.map(drop)
        }
        "DetachTrafficLimit" => {
            let traffic_limit = limit.and_then(|s| s.traffic_limits.into_iter().next());
            let request =
                DetachTrafficLimitRequest { name, service, traffic_limit, ..Default::default() };
            profiles.detach_traffic_limit(request).await.map(drop)
        }
        other => call_another(bench, other, there).await,
    }
}

/// The methods that are of no single dialect, and those of services.
async fn call_another(bench: &Bench, method: &str, there: &Profile) -> Result<(), Status> {
    let (name, parent) = (there.name.clone(), bench.parent());
    let (mut profiles, mut backends) =
        (bench.gateway.profiles.clone(), bench.gateway.backends.clone());
    match method {
        "ListServices" => backends.list_services(ListServicesRequest { parent }).await.map(drop),
        "BatchGetProfiles" => {
            let request = BatchGetProfilesRequest { parent, names: vec![name] };
            profiles.batch_get_profiles(request).await.map(drop)
        }
        "PreviewWrite" => {
            let delete = DeleteProfileRequest { name, ..Default::default() };
            let request = PreviewWriteRequest { write: Some(Write::Delete(delete)) };
            profiles.preview_write(request).await.map(drop)
        }
        "TranslateProfile" => {
            let request = TranslateProfileRequest { name, target_backend: parent };
            profiles.translate_profile(request).await.map(drop)
        }
        "DiffProfiles" => {
            let request = DiffProfilesRequest { left: name.clone(), right: name };
            profiles.diff_profiles(request).await.map(drop)
        }
        "WatchProfiles" => {
            let request = WatchProfilesRequest { parent, ..Default::default() };
            profiles.watch_profiles(request).await.map(drop)
        }
        other => panic!("the suite does not know how to call {other}: add it to `call`"),
    }
}

/// A service that the sample's profile does not have, bare and with one of its limits where there
/// are limits; something to name where the dialect has no services.
async fn spare(bench: &Bench) -> [Option<Service>; 2] {
    let made_up = Service {
        id: "4".to_owned(),
        traffic_limits: vec![TrafficLimit { id: "11".to_owned(), ..Default::default() }],
        ..Service::default()
    };
    let request = ListServicesRequest { parent: bench.parent() };
    let listed = bench.gateway.backends.clone().list_services(request).await;
    let listed = listed.map(|answer| answer.into_inner().services).unwrap_or_default();
    let full = bench.full();
    let has_limits = listed.iter().any(|service| !service.traffic_limits.is_empty());
    let mut spare = listed.into_iter().filter(|service| {
        let limits = !has_limits || !service.traffic_limits.is_empty();
        limits && full.services.iter().all(|there| there.id != service.id)
    });
    let mut with_limits = spare.next().unwrap_or(made_up);
    with_limits.traffic_limits.truncate(1);
    if with_limits.traffic_limits.is_empty() {
        with_limits.traffic_limits =
            vec![TrafficLimit { id: "11".to_owned(), ..Default::default() }];
    }
    [Some(Service { id: with_limits.id.clone(), ..Service::default() }), Some(with_limits)]
}

#[tokio::test]
async fn methods_work_or_are_not_supported_as_the_table_says() {
    // Those that attach stand before those that detach again.
    let order = ["AttachService", "AttachTrafficLimit", "DetachTrafficLimit", "DetachService"];
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let mut methods = bench.capabilities().await.methods;
        methods.sort_by_key(|m| order.iter().position(|method| *method == m.method));
        for method in methods {
            let what = format!("{}: {}", sample.dialect, method.method);
            let before = bench.writes().await.len();
            let result = call(&bench, &method.method, &there).await;
            if method.supported {
                result.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                continue;
            }
            let failed = fails(result, Code::Unimplemented, "OPERATION_NOT_SUPPORTED");
            assert_eq!(bench.writes().await.len(), before, "{what}: {failed:#?}");
        }
        let after = bench.get(&there.name).await.unwrap();
        let renamed = Profile { display_name: after.display_name.clone(), ..there };
        assert_eq!(but_etag(&after), but_etag(&renamed), "{}", sample.dialect);
    }
}

/// Members that no document mentions.
fn unknown() -> Value {
    json!({
        "futureScalar": "kept as it is",
        "futureNested": {"id": 7, "name": null, "list": [1, -2.5, {"deep": [true]}], "": "empty"},
        "futureList": [[], {}, "x"],
        "futureNumber": 9007199254740991_u64,
    })
}

#[tokio::test]
async fn unknown_members_survive_changes_of_all_that_is_known() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let created = bench.create(bench.full()).await.unwrap();
        let mut raw = bench.raw_named(&created.display_name).await.remove(0);
        raw.as_object_mut().unwrap().remove("id");
        let extras = raw.pointer_mut(sample.extras).unwrap().as_object_mut().unwrap();
        extras.extend(unknown().as_object().unwrap().clone());
        bench.sandbox.put_raw(sample.upstream, id(&created), &raw).await;

        let there = bench.get(&created.name).await.unwrap();
        let unmapped = there.unmapped.clone().unwrap_or_default();
        for key in unknown().as_object().unwrap().keys() {
            assert!(unmapped.fields.contains_key(key), "{what}: {key} in {unmapped:?}");
        }
        assert_ne!(there.etag, created.etag, "{what}");
        assert_eq!(asked_of(&there), asked_of(&created), "{what}: they change nothing else");
        assert!(bench.list().await.unwrap().contains(&there), "{what}");

        let changed = change_everything(&bench, &there).await;
        assert_eq!(changed.unmapped, there.unmapped, "{what}");
        let raw = bench.raw_named(&changed.display_name).await.remove(0);
        let kept = raw.pointer(sample.extras).unwrap();
        for (key, value) in unknown().as_object().unwrap() {
            assert_eq!(kept.get(key), Some(value), "{what}: {key}");
        }
    }
}

#[tokio::test]
async fn one_list_holds_the_profiles_of_all_dialects_in_one_shape() {
    let sandbox = sandbox().await;
    let gateway = gateway::over_all(&sandbox).await;
    let request = ListProfilesRequest {
        parent: "backends/-".to_owned(),
        page_size: 1000,
        ..Default::default()
    };
    let answer = gateway.profiles.clone().list_profiles(request).await.unwrap().into_inner();
    assert_eq!((answer.unreachable.len(), answer.next_page_token.as_str()), (0, ""));
    let mut dialects = HashSet::new();
    for profile in &answer.profiles {
        let backend = profile.name.rsplit_once("/profiles/").unwrap().0.to_owned();
        let request = GetBackendRequest { name: backend };
        let of = gateway.backends.clone().get_backend(request).await.unwrap().into_inner();
        assert_eq!(profile.dialect, of.dialect, "{}", profile.name);
        assert!(!profile.display_name.is_empty() && profile.etag.len() > 10, "{profile:?}");
        for field in of.capabilities.unwrap().fields {
            let absent = field.support().as_str_name().ends_with("NOT_SUPPORTED");
            let is_set = super::bench::has(profile, &field.field);
            assert!(!(absent && is_set), "{} has {}", profile.name, field.field);
        }
        dialects.insert(profile.dialect());
    }
    let mut total = 0;
    for sample in registered() {
        let own = sandbox.raw(sample.upstream).await.len();
        assert!(own > 0, "{} has no profiles in the sandbox", sample.dialect);
        total += own;
    }
    assert_eq!(answer.profiles.len(), total);
    assert_eq!(dialects.len(), registered().len());
    assert!(!dialects.contains(&Dialect::Unspecified));
}

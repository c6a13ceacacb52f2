//! `DiffProfiles` over all dialects.

use profile_gateway::pb::{DiffProfilesRequest, DiffProfilesResponse, Profile};
use serde_json::json;
use tonic::{Code, Status};

use crate::{
    conformance::{
        bench::{Bench, bench},
        samples::registered,
    },
    kit::{
        gateway::{self, Gateway},
        sandbox::sandbox,
        status::fails,
    },
};

async fn diff(gateway: &Gateway, left: &str, right: &str) -> Result<DiffProfilesResponse, Status> {
    let request = DiffProfilesRequest { left: left.to_owned(), right: right.to_owned() };
    gateway.profiles.clone().diff_profiles(request).await.map(tonic::Response::into_inner)
}

async fn fields(bench: &Bench, left: &Profile, right: &Profile) -> Vec<String> {
    let found = diff(&bench.gateway, &left.name, &right.name).await.unwrap();
    found.differences.into_iter().map(|difference| difference.field).collect()
}

#[tokio::test]
async fn each_field_of_each_dialect_is_distinguished() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let one = bench.create(bench.full()).await.unwrap();
        let two = bench.create(bench.other()).await.unwrap();
        let table = bench.capabilities().await.fields;
        let mut settable: Vec<String> = table
            .iter()
            .filter(|field| field.support().as_str_name().contains("READ_WRITE"))
            .chain(table.iter().filter(|field| field.support().as_str_name().contains("CREATE")))
            .map(|field| field.field.clone())
            .collect();
        settable.sort();
        assert_eq!(fields(&bench, &one, &two).await, settable, "{what}");
        assert_eq!(fields(&bench, &one, &one).await, [""; 0], "{what}");

        let twin = bench.create(bench.full()).await.unwrap();
        let found = diff(&bench.gateway, &one.name, &twin.name).await.unwrap().differences;
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        let text = |value: &Option<prost_types::Value>| match &value.as_ref().unwrap().kind {
            Some(prost_types::value::Kind::StringValue(text)) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(&found[0].left), one.display_name, "{what}");
        assert_eq!(text(&found[0].right), twin.display_name, "{what}");
    }
}

#[tokio::test]
async fn unmapped_members_are_compared_each_by_itself() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let one = bench.create(bench.full()).await.unwrap();
        let two = bench.create(Profile { ..bench.full() }).await.unwrap();
        let mut raw = bench.raw_named(&two.display_name).await.remove(0);
        raw.as_object_mut().unwrap().remove("id");
        let extras = raw.pointer_mut(sample.extras).unwrap().as_object_mut().unwrap();
        extras.insert("future".to_owned(), json!([1, "x"]));
        let id = two.name.rsplit('/').next().unwrap();
        bench.sandbox.put_raw(sample.upstream, id, &raw).await;
        bench.get(&two.name).await.unwrap();
        assert_eq!(fields(&bench, &one, &two).await, ["display_name", "unmapped.future"], "{what}");
    }
}

#[tokio::test]
async fn profiles_of_different_backends_are_compared() {
    let sandbox = sandbox().await;
    let gateway = gateway::over_all(&sandbox).await;
    let (left, right) = ("backends/sft/profiles/SP_1249", "backends/pcc/profiles/61");
    let there = diff(&gateway, left, right).await.unwrap().differences;
    let back = diff(&gateway, right, left).await.unwrap().differences;
    let turned: Vec<_> = back.iter().map(|d| (&d.field, d.right.clone(), d.left.clone())).collect();
    let straight: Vec<_> =
        there.iter().map(|d| (&d.field, d.left.clone(), d.right.clone())).collect();
    assert_eq!(straight, turned);
    let paths: Vec<&str> = there.iter().map(|d| d.field.as_str()).collect();
    for path in ["category", "default_profile", "display_name", "services", "state"] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    for never in ["name", "dialect", "etag"] {
        assert!(!paths.contains(&never), "{never} in {paths:?}");
    }
    assert!(paths.is_sorted(), "{paths:?}");

    let gone = diff(&gateway, left, "backends/pcc/profiles/999999").await;
    let failed = fails(gone, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(failed.resource.as_deref(), Some("backends/pcc/profiles/999999"));
    fails(diff(&gateway, "x", right).await, Code::InvalidArgument, "VALIDATION_FAILED");
    let nowhere = diff(&gateway, left, "backends/none/profiles/1").await;
    fails(nowhere, Code::NotFound, "BACKEND_NOT_FOUND");
}

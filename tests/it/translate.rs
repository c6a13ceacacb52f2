//! `TranslateProfile` from each dialect to each: nothing is lost without a note, and what it shows
//! can be created.

use std::collections::HashSet;

use profile_gateway::{
    model::fields::SETTABLE,
    pb::{
        CreateProfileRequest, DeleteProfileRequest, ListProfilesRequest, Note, NoteKind, Profile,
        TranslateProfileRequest, TranslateProfileResponse,
    },
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{has, id, with},
        samples::{self, Sample, registered},
    },
    kit::{
        calls,
        gateway::{self, Gateway, fresh},
        sandbox::{Sandbox, sandbox},
        status::fails,
    },
};

#[path = "../../contract/examples/migration.rs"]
mod migration;

struct World {
    sandbox: Sandbox,
    gateway: Gateway,
}

/// The fields that notes of this kind are about.
fn fields(notes: &[Note], kind: NoteKind) -> Vec<&str> {
    notes.iter().filter(|note| note.kind() == kind).map(|note| note.field.as_str()).collect()
}

async fn world() -> World {
    let sandbox = sandbox().await;
    sandbox.set("endpoint", &json!({"rate_limit": false})).await;
    let gateway = gateway::over_all(&sandbox).await;
    World { sandbox, gateway }
}

impl World {
    async fn translate(&self, name: &str, to: &str) -> Result<TranslateProfileResponse, Status> {
        let before = self.writes().await.len();
        let request = TranslateProfileRequest { name: name.into(), target_backend: to.into() };
        let answer = self.gateway.profiles.clone().translate_profile(request).await;
        assert_eq!(self.writes().await.len(), before, "it wrote");
        answer.map(Response::into_inner)
    }

    async fn create(&self, parent: &str, profile: Profile) -> Result<Profile, Status> {
        let (parent, profile) = (parent.to_owned(), Some(profile));
        let request = CreateProfileRequest { parent, profile, ..Default::default() };
        self.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
    }

    async fn list(&self, parent: &str) -> Vec<Profile> {
        let request =
            ListProfilesRequest { parent: parent.into(), page_size: 1000, ..Default::default() };
        let list = self.gateway.profiles.clone().list_profiles(fresh(request)).await.unwrap();
        list.into_inner().profiles
    }

    async fn writes(&self) -> Vec<Value> {
        let mut journal = self.sandbox.journal().await;
        journal.retain(|entry| {
            let operation = entry["operation"].as_str().unwrap_or_default();
            registered()
                .iter()
                .any(|s| entry["upstream"] == s.upstream && s.writes.contains(&operation))
        });
        journal
    }
}

fn parent(sample: &Sample) -> String {
    format!("backends/{}", sample.upstream)
}

fn noted(answer: &TranslateProfileResponse) -> HashSet<&str> {
    answer.notes.iter().map(|note| note.field.as_str()).collect()
}

#[tokio::test]
async fn every_profile_can_be_created_in_every_other_backend_as_it_was_shown() {
    let world = world().await;
    for sample in registered() {
        for (n, json) in [(sample.full)(), (sample.other)()].into_iter().enumerate() {
            let display_name = format!("To move {n}");
            let profile = Profile { display_name, ..samples::profile(json) };
            world.create(&parent(&sample), profile).await.unwrap();
        }
    }
    let lists = world.list("backends/-").await;
    for source in lists {
        for target in registered() {
            let to = parent(&target);
            if !source.name.starts_with(&format!("{to}/")) {
                move_there(&world, &source, &to).await;
            }
        }
    }
}

async fn move_there(world: &World, source: &Profile, to: &str) {
    let what = format!("{} to {to}", source.name);
    let answer = world.translate(&source.name, to).await.unwrap();
    let refused: Vec<_> = answer.notes.iter().filter(|n| n.kind() == NoteKind::Refused).collect();
    let shown = answer.profile.clone().unwrap();
    if !refused.is_empty() {
        // A profile of the target has the name, which is another's; anything else is a fault.
        assert!(refused.iter().all(|n| n.field == "display_name"), "{what}: {refused:?}");
        let taken = world.create(to, shown).await;
        fails(taken, Code::AlreadyExists, "PROFILE_ALREADY_EXISTS");
        return;
    }
    for path in SETTABLE.iter().filter(|path| has(source, path)) {
        let kept = with(&shown, path, source) == shown || *path == "services";
        assert!(kept || noted(&answer).contains(path), "{what}: {path} is lost without a note");
    }
    let before = world.writes().await.len();
    let created = world.create(to, shown.clone()).await;
    let created = created.unwrap_or_else(|error| panic!("{what}: {error:?} {shown:#?}"));
    let arrived = world.writes().await.split_off(before);
    calls::same(&answer.upstream_calls, &arrived, id(&created), &what);
    for path in SETTABLE {
        let as_shown = with(&created, path, &shown) == created;
        let left_open = !has(&shown, path) && noted(&answer).contains(path);
        assert!(as_shown || left_open, "{what}: {path} in {created:#?}");
    }
    let request = DeleteProfileRequest { name: created.name, ..Default::default() };
    world.gateway.profiles.clone().delete_profile(request).await.unwrap();
}

#[tokio::test]
async fn services_are_mapped_by_what_they_are_and_limits_by_what_they_allow() {
    let world = world().await;
    for source in registered().into_iter().filter(|s| s.dialect != "pcc") {
        let profile =
            Profile { display_name: "Services".into(), ..samples::profile((source.full)()) };
        let made = world.create(&parent(&source), profile).await.unwrap();
        let to = if source.dialect == "endpoint" { "backends/sft" } else { "backends/endpoint" };
        let answer = world.translate(&made.name, to).await.unwrap();
        let types =
            |profile: &Profile| profile.services.iter().map(|s| s.r#type).collect::<HashSet<_>>();
        let shown = answer.profile.clone().unwrap();
        assert_eq!(types(&shown), types(&made), "{shown:#?}");
        let ids = |p: &Profile| p.services.iter().map(|s| s.id.clone()).collect::<HashSet<_>>();
        assert_ne!(ids(&shown), ids(&made));
        let limits = made.services.iter().any(|s| !s.traffic_limits.is_empty());
        assert_eq!(noted(&answer).contains("services"), limits, "{:?}", answer.notes);
    }
}

#[tokio::test]
async fn a_profile_of_the_same_backend_is_refused_for_its_name_alone() {
    let world = world().await;
    for sample in registered() {
        let what = sample.dialect;
        let profile = Profile { display_name: "Twin".into(), ..samples::profile((sample.full)()) };
        let made = world.create(&parent(&sample), profile).await.unwrap();
        let answer = world.translate(&made.name, &parent(&sample)).await.unwrap();
        let refused = fields(&answer.notes, NoteKind::Refused);
        let expected: &[&str] = if sample.unique_names { &["display_name"] } else { &[] };
        assert_eq!(refused, expected, "{what} {:#?}", answer.notes);
        assert!(!answer.upstream_calls.is_empty(), "{what}");
        let lost = fields(&answer.notes, NoteKind::Lost);
        assert!(lost.iter().all(|field| *field == "endpoint_count"), "{what} {lost:?}");
        let shown = Profile { name: String::new(), etag: String::new(), ..made };
        let shown = Profile { endpoint_count: None, ..shown };
        assert_eq!(answer.profile, Some(shown), "{what}");
    }
}

#[tokio::test]
async fn what_cannot_be_created_is_reported_in_notes() {
    let world = world().await;
    // It has services that the account's catalog does not have.
    let name = "backends/endpoint/profiles/1";
    let answer = world.translate(name, "backends/endpoint").await.unwrap();
    let refused = fields(&answer.notes, NoteKind::Refused);
    assert_eq!(refused, ["services"]);
    assert!(answer.upstream_calls.is_empty());
    assert!(!answer.profile.unwrap().display_name.is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_not_translated() {
    let world = world().await;
    let (there, gone) = ("backends/sft/profiles/SP_1249", "backends/sft/profiles/SP_999999");
    let failed =
        fails(world.translate(gone, "backends/pcc").await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(failed.resource.as_deref(), Some(gone));
    let nowhere = world.translate(there, "backends/none").await;
    fails(nowhere, Code::NotFound, "BACKEND_NOT_FOUND");
    for (name, to) in [(there, "backends/-"), (there, ""), ("backends/sft", "backends/pcc")] {
        let refused = world.translate(name, to).await;
        fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn the_example_plans_a_migration() {
    let world = world().await;
    let profiles = world.gateway.profiles.clone();
    let plan = migration::plan(profiles, "backends/sft", "backends/endpoint").await.unwrap();
    let count = world.list("backends/sft").await.len();
    assert!(plan.contains(&format!("{count} profiles: ")), "{plan}");
    assert!(plan.contains("backends/sft/profiles/SP_1249"), "{plan}");
    assert!(plan.contains("lost: state: dialect endpoint has no such field"), "{plan}");
}

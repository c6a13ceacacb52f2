//! `PreviewWrite` over all dialects: what it shows is what the write then sends, and it sends
//! nothing.

use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, NoteKind, PreviewWriteRequest,
    PreviewWriteResponse, Profile, Service, TrafficLimit, UpdateProfileRequest,
    preview_write_request::Write,
};
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{Bench, asked_of, bench, id, with},
        samples::registered,
    },
    kit::{
        calls,
        model::mask,
        status::{fails, failure},
    },
};

impl Bench {
    async fn preview(&self, write: Write) -> Result<PreviewWriteResponse, Status> {
        let before = self.writes().await.len();
        let request = PreviewWriteRequest { write: Some(write) };
        let answer = self.gateway.profiles.clone().preview_write(request).await;
        assert_eq!(self.writes().await.len(), before, "{}: it wrote", self.sample.dialect);
        answer.map(Response::into_inner)
    }

    fn creating(&self, profile: Profile) -> Write {
        let parent = self.parent();
        Write::Create(CreateProfileRequest { parent, profile: Some(profile), ..Default::default() })
    }
}

fn updating(profile: Profile, paths: &[&str]) -> Write {
    let update_mask = (!paths.is_empty()).then(|| mask(paths));
    let profile = Some(profile);
    Write::Update(UpdateProfileRequest { profile, update_mask, ..Default::default() })
}

fn deleting(name: &str, etag: &str, allow_missing: bool) -> Write {
    let (name, etag) = (name.to_owned(), etag.to_owned());
    Write::Delete(DeleteProfileRequest { name, etag, allow_missing, ..Default::default() })
}

/// The profile with services and limits named by what they are alone.
fn by_kind(mut profile: Profile) -> Profile {
    for service in &mut profile.services {
        let limits = std::mem::take(&mut service.traffic_limits).into_iter();
        let unnamed = |limit| TrafficLimit { id: String::new(), ..limit };
        let traffic_limits = limits.map(unnamed).collect();
        *service = Service { r#type: service.r#type, traffic_limits, ..Service::default() };
    }
    profile
}

#[tokio::test]
async fn shows_what_each_write_then_sends() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        for asked in [bench.full(), bench.other(), by_kind(bench.full())] {
            let shown = bench.preview(bench.creating(asked.clone())).await.unwrap();
            let before = bench.writes().await.len();
            let created = bench.create(asked).await.unwrap();
            let arrived = bench.writes().await.split_off(before);
            calls::same(&shown.upstream_calls, &arrived, id(&created), what);
            let profile = shown.profile.unwrap();
            assert_eq!((profile.name.as_str(), profile.etag.as_str()), ("", ""), "{what}");
            assert_eq!(profile.dialect, created.dialect, "{what}");
            assert_eq!(asked_of(&profile), asked_of(&created), "{what}");
            let kept = Profile { endpoint_count: None, ..created.clone() };
            let named = Profile { name: created.name.clone(), etag: created.etag, ..profile };
            assert_eq!(named, kept, "{what}");
            // What the vendor advises against is written all the same.
            let altered = shown.notes.iter().any(|note| note.kind() != NoteKind::Caution);
            assert!(!altered, "{what}: {:?}", shown.notes);
        }
        let there = bench.create(bench.full()).await.unwrap();
        let table = bench.capabilities().await.fields;
        let fixed = table.iter().filter(|f| f.support().as_str_name().ends_with("CREATE_ONLY"));
        let wanted = fixed.fold(bench.other(), |wanted, f| with(&wanted, &f.field, &there));
        let wanted = Profile { name: there.name.clone(), ..wanted };
        let shown = bench.preview(updating(wanted.clone(), &["*"])).await.unwrap();
        let before = bench.writes().await.len();
        let changed = bench.update(wanted.clone(), &["*"]).await.unwrap();
        let arrived = bench.writes().await.split_off(before);
        assert!(!arrived.is_empty(), "{what}");
        calls::same(&shown.upstream_calls, &arrived, "", what);
        assert_eq!(shown.profile, Some(changed.clone()), "{what}: with its etag");

        let nothing = bench.preview(updating(changed.clone(), &[])).await.unwrap();
        assert!(nothing.upstream_calls.is_empty(), "{what}");
        assert_eq!(nothing.profile, Some(changed.clone()), "{what}");

        let shown = bench.preview(deleting(&changed.name, &changed.etag, false)).await.unwrap();
        assert_eq!(shown.profile, None, "{what}");
        let before = bench.writes().await.len();
        bench.delete(&changed.name).await.unwrap();
        let arrived = bench.writes().await.split_off(before);
        calls::same(&shown.upstream_calls, &arrived, "", what);
    }
}

#[tokio::test]
async fn fails_as_the_write_does() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let there = bench.create(bench.full()).await.unwrap();
        let missing = bench.name(sample.missing);
        let nameless = Profile { display_name: String::new(), ..bench.full() };
        let stale = Profile { etag: "\"stale\"".into(), ..there.clone() };
        let foreign = Profile { name: missing.clone(), ..bench.full() };
        let mut cases = vec![
            (bench.creating(nameless.clone()), failure(bench.create(nameless).await)),
            (updating(stale.clone(), &[]), failure(bench.update(stale, &[]).await)),
            (updating(foreign.clone(), &["display_name"]), {
                failure(bench.update(foreign, &["display_name"]).await)
            }),
            (deleting(&missing, "", false), failure(bench.delete(&missing).await)),
        ];
        if sample.unique_names {
            let twin = Profile { display_name: there.display_name.clone(), ..bench.full() };
            let named = bench.create(bench.full()).await.unwrap();
            let renamed = Profile { name: named.name, ..twin.clone() };
            let refused = failure(bench.update(renamed.clone(), &["display_name"]).await);
            cases.push((updating(renamed, &["display_name"]), refused));
            cases.push((bench.creating(twin.clone()), failure(bench.create(twin).await)));
        }
        for (write, real) in cases {
            let shown = failure(bench.preview(write.clone()).await);
            assert_eq!((shown.code, &shown.reason), (real.code, &real.reason), "{what}: {write:?}");
            assert_eq!(shown.fields, real.fields, "{what}: {write:?}");
            assert_eq!(shown.resource, real.resource, "{what}: {write:?}");
            assert_eq!(shown.meta("operation"), real.meta("operation"), "{what}: {write:?}");
        }
        for gone in [&missing, &bench.name(sample.impossible[0])] {
            let fine = bench.preview(deleting(gone, "", true)).await.unwrap();
            assert!(fine.upstream_calls.is_empty(), "{what}");
        }
        let mut profiles = bench.gateway.profiles.clone();
        let empty = profiles.preview_write(PreviewWriteRequest::default()).await;
        fails(empty, Code::InvalidArgument, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn what_is_left_to_the_upstream_and_what_is_lost_is_noted() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let full = bench.full();
        let table = bench.capabilities().await.fields;
        let required = table.iter().filter(|field| field.required_on_create);
        let least = required.fold(Profile::default(), |p, f| with(&p, &f.field, &full));
        let least = match sample.dialect {
            "bics-sft" => with(&with(&least, "services", &full), "radio_access", &full),
            _ => least,
        };
        let asked = Profile { endpoint_count: Some(7), ..least.clone() };
        let shown = bench.preview(bench.creating(asked)).await.unwrap();
        let of = |kind: NoteKind| {
            let notes = shown.notes.iter().filter(move |note| note.kind() == kind);
            notes.map(|note| note.field.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of(NoteKind::Lost), ["endpoint_count"], "{what}");
        // What the upstream then really chose is among what was said to be left to it.
        let created = bench.create(least.clone()).await.unwrap();
        for field in &table {
            let path = field.field.as_str();
            let chosen = super::conformance::bench::has(&created, path)
                && !super::conformance::bench::has(&least, path)
                && field.support().as_str_name().ends_with("READ_WRITE");
            assert!(!chosen || of(NoteKind::Defaulted).contains(&path), "{what}: {path}");
        }
    }
}

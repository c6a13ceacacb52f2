//! Each field does what the capability table says of it.

use profile_gateway::{
    model::fields::{Fields, OUTPUT_ONLY, SETTABLE},
    pb::{FieldCapability, FieldSupport, Profile},
};
use serde_json::{Value, json};
use tonic::Code;

use super::{
    bench::{Bench, asked_of, bench, but_etag, has, only, with},
    samples::{self, everything, registered},
};
use crate::kit::status::fails;

/// The dialect's fields with this support, as callers see them.
async fn fields_with(bench: &Bench, support: FieldSupport) -> Vec<FieldCapability> {
    let mut fields = bench.capabilities().await.fields;
    fields.retain(|field| field.support() == support);
    fields
}

#[test]
fn there_is_a_value_for_every_field() {
    let everything = everything();
    for path in SETTABLE.iter().chain(OUTPUT_ONLY) {
        assert!(has(&everything, path), "the suite's profile of all fields lacks {path}");
    }
}

#[tokio::test]
async fn the_table_names_every_field_and_the_samples_fill_it() {
    for sample in registered() {
        let bench = bench(sample).await;
        let table = bench.capabilities().await.fields;
        let named: Vec<&str> = table.iter().map(|field| field.field.as_str()).collect();
        let all: Vec<&str> = OUTPUT_ONLY.iter().chain(SETTABLE).copied().collect();
        assert_eq!(named, all, "{}", sample.dialect);
        let (full, other) = (bench.full(), bench.other());
        for field in &table {
            let (path, what) =
                (field.field.as_str(), format!("{}: {}", sample.dialect, field.field));
            let settable =
                matches!(field.support(), FieldSupport::ReadWrite | FieldSupport::CreateOnly);
            if SETTABLE.contains(&path) {
                assert_eq!(has(&full, path), settable, "{what} in the sample");
                assert_eq!(has(&other, path), settable, "{what} in the other sample");
                assert!(
                    !settable || with(&full, path, &other) != full,
                    "{what} is the same in both"
                );
            } else {
                assert!(!settable, "{what} is the gateway's to set");
            }
        }
    }
}

/// That these requests change nothing upstream, and do not even try.
async fn assert_untouched(bench: &Bench, there: &Profile, writes: usize, what: &str) {
    assert_eq!(bench.writes().await.len(), writes, "{what}: a write left");
    assert_eq!(bench.get(&there.name).await.unwrap(), *there, "{what}");
}

#[tokio::test]
async fn a_field_that_is_not_supported_is_refused() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let before = bench.writes().await.len();
        for field in fields_with(&bench, FieldSupport::NotSupported).await {
            let path = field.field.as_str();
            if !SETTABLE.contains(&path) {
                // Callers send back what they have read: these are ignored, in every dialect.
                continue;
            }
            let what = format!("{}: {path}", sample.dialect);
            let expected = format!("profile.{path}");
            let wanted = with(&bench.full(), path, &everything());
            let change = only(&there.name, path, &everything());
            for result in [
                bench.create(wanted).await,
                bench.update(change.clone(), &[path]).await,
                bench.update(change, &[]).await,
                bench.update(only(&there.name, path, &Profile::default()), &[path]).await,
            ] {
                let failed = fails(result, Code::InvalidArgument, "FIELD_NOT_SUPPORTED");
                assert_eq!(failed.fields, [expected.as_str()], "{what}");
            }
            assert_untouched(&bench, &there, before, &what).await;
        }
    }
}

#[tokio::test]
async fn all_fields_that_are_not_supported_are_named_at_once() {
    for sample in registered() {
        let bench = bench(sample).await;
        let table = bench.capabilities().await.fields;
        let mut expected: Vec<String> = table
            .iter()
            .filter(|field| SETTABLE.contains(&field.field.as_str()))
            .filter(|field| field.support() == FieldSupport::NotSupported)
            .map(|field| format!("profile.{}", field.field))
            .collect();
        let wanted = table.iter().fold(bench.full(), |profile, field| {
            let absent = field.support() == FieldSupport::NotSupported;
            if absent { with(&profile, &field.field, &everything()) } else { profile }
        });
        let mut failed =
            fails(bench.create(wanted).await, Code::InvalidArgument, "FIELD_NOT_SUPPORTED");
        expected.sort();
        failed.fields.sort();
        assert_eq!(failed.fields, expected, "{}", sample.dialect);
        assert!(bench.writes().await.is_empty());
    }
}

#[tokio::test]
async fn an_output_only_field_is_ignored() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        for field in bench.capabilities().await.fields {
            let path = field.field.as_str();
            if field.support() != FieldSupport::ReadOnly && !OUTPUT_ONLY.contains(&path) {
                continue;
            }
            let what = format!("{}: {path}", sample.dialect);
            let asked = bench.full();
            let created = bench.create(with(&asked, path, &everything())).await.unwrap();
            assert_eq!(asked_of(&created), asked, "{what}");
            assert_eq!(
                (created.unmapped.as_ref(), created.endpoint_count),
                (there.unmapped.as_ref(), there.endpoint_count),
                "{what}"
            );
            let before = bench.writes().await.len();
            // On an update two of them say which profile is meant.
            let change = match path {
                "name" | "etag" => only(&there.name, path, &there),
                _ => only(&there.name, path, &everything()),
            };
            let change = Profile { name: there.name.clone(), ..change };
            assert_eq!(bench.update(change.clone(), &[path]).await.unwrap(), there, "{what}");
            assert_eq!(bench.update(change, &[]).await.unwrap(), there, "{what}");
            assert_untouched(&bench, &there, before, &what).await;
        }
    }
}

#[tokio::test]
async fn a_create_only_field_never_changes() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let before = bench.writes().await.len();
        for field in fields_with(&bench, FieldSupport::CreateOnly).await {
            let path = field.field.as_str();
            let what = format!("{}: {path}", sample.dialect);
            let change = only(&there.name, path, &bench.other());
            for mask in [&[path][..], &[]] {
                let result = bench.update(change.clone(), mask).await;
                let failed = fails(result, Code::InvalidArgument, "FIELD_IMMUTABLE");
                assert_eq!(failed.fields, [format!("profile.{path}")], "{what}");
            }
            let same = bench.update(only(&there.name, path, &there), &[path]).await.unwrap();
            assert_eq!(same, there, "{what}");
            assert_untouched(&bench, &there, before, &what).await;
        }
    }
}

#[tokio::test]
async fn an_update_changes_exactly_its_field() {
    for sample in registered() {
        let bench = bench(sample).await;
        let there = bench.create(bench.full()).await.unwrap();
        let other = bench.other();
        for field in fields_with(&bench, FieldSupport::ReadWrite).await {
            let path = field.field.as_str();
            let what = format!("{}: {path}", sample.dialect);
            let changed = bench.update(only(&there.name, path, &other), &[path]).await.unwrap();
            assert_eq!(but_etag(&changed), but_etag(&with(&there, path, &other)), "{what}");
            assert_ne!(changed.etag, there.etag, "{what}");
            assert_eq!(bench.get(&there.name).await.unwrap(), changed, "{what}");

            let before = bench.writes().await.len();
            let same = bench.update(only(&there.name, path, &other), &[path]).await.unwrap();
            assert_eq!(same, changed, "{what}");
            assert_untouched(&bench, &changed, before, &what).await;

            let back = bench.update(only(&there.name, path, &there), &[]).await.unwrap();
            assert_eq!(back, there, "{what} and back");
        }
    }
}

/// What cannot be cleared is refused; nothing says that it cleared and did not.
#[tokio::test]
async fn a_field_is_cleared_or_that_is_refused() {
    for sample in registered() {
        let bench = bench(sample).await;
        for field in fields_with(&bench, FieldSupport::ReadWrite).await {
            let path = field.field.as_str();
            let what = format!("{}: {path}", sample.dialect);
            let there = bench.create(bench.full()).await.unwrap();
            let before = bench.writes().await.len();
            let empty = only(&there.name, path, &Profile::default());
            match bench.update(empty.clone(), &[path]).await {
                Ok(cleared) => {
                    let expected = with(&there, path, &Profile::default());
                    // Some upstreams know no difference between an empty text and none.
                    let text = Fields::of(&cleared).unwrap().get(path);
                    let empty = text.as_ref().and_then(|text| text.as_str()) == Some("");
                    let found =
                        if empty { with(&cleared, path, &expected) } else { cleared.clone() };
                    assert_eq!(asked_of(&found), asked_of(&expected), "{what}");
                    assert_eq!(bench.get(&there.name).await.unwrap(), cleared, "{what}");
                    assert!(!field.required_on_create, "{what} is required");
                }
                refused => {
                    let failed = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
                    // The one that is cleared, or the one that cannot do without it.
                    let own = |named: &String| {
                        let path = named.trim_start_matches("profile.");
                        has(&there, path)
                            || path.rsplit_once('.').is_some_and(|(p, _)| has(&there, p))
                    };
                    assert!(!failed.fields.is_empty(), "{what}");
                    assert!(failed.fields.iter().all(own), "{what}: {:?}", failed.fields);
                    assert_untouched(&bench, &there, before, &what).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_required_field_is_asked_for() {
    for sample in registered() {
        let bench = bench(sample).await;
        let table = bench.capabilities().await.fields;
        let required: Vec<&str> =
            table.iter().filter(|f| f.required_on_create).map(|f| f.field.as_str()).collect();
        assert!(required.contains(&"display_name"), "{}", sample.dialect);
        for path in &required {
            let without = with(&bench.full(), path, &Profile::default());
            let failed =
                fails(bench.create(without).await, Code::InvalidArgument, "VALIDATION_FAILED");
            assert_eq!(failed.fields, [format!("profile.{path}")], "{}", sample.dialect);
        }
        let nothing = bench.create(Profile::default()).await;
        let failed = fails(nothing, Code::InvalidArgument, "VALIDATION_FAILED");
        for path in required {
            let named = format!("profile.{path}");
            assert!(failed.fields.contains(&named), "{named} in {:?}", failed.fields);
        }
        assert!(bench.writes().await.is_empty(), "{}", sample.dialect);
    }
}

/// A field's allowed value as JSON: several of a set are joined with `+`.
fn allowed(path: &str, value: &str) -> Value {
    match path {
        "radio_access" => value.split('+').collect(),
        "services" => json!([{"type": value}]),
        _ => json!(value),
    }
}

#[tokio::test]
async fn every_allowed_value_works() {
    for sample in registered() {
        let bench = bench(sample).await;
        for field in bench.capabilities().await.fields {
            for value in &field.allowed_values {
                let what = format!("{}: {} = {value}", sample.dialect, field.field);
                let mut json = (sample.full)();
                samples::merge(&mut json, json!({&field.field: allowed(&field.field, value)}));
                let companions = sample.companions.iter();
                for (_, _, more) in companions.filter(|(f, v, _)| *f == field.field && v == value) {
                    samples::merge(&mut json, serde_json::from_str(more).unwrap());
                }
                let asked = bench.fresh(json);
                let created = bench.create(asked.clone()).await;
                let created = created.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                match field.field.as_str() {
                    "services" => assert_eq!(created.services.len(), 1, "{what}"),
                    _ => assert_eq!(asked_of(&created), asked, "{what}"),
                }
                let types = |p: &Profile| p.services.iter().map(|s| s.r#type).collect::<Vec<_>>();
                assert_eq!(types(&created), types(&asked), "{what}");
            }
        }
    }
}

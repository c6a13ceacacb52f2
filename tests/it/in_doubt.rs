//! Writes in doubt as people see them: the list, and the end that someone gives one by hand.

mod closing;
mod refusals;

use std::collections::HashSet;

use futures_util::future::join_all;
use profile_gateway::pb::{
    CloseDoubtfulWriteRequest, DoubtOutcome, DoubtState, DoubtfulWrite, ListDoubtfulWritesRequest,
    ListDoubtfulWritesResponse, ListProfilesRequest, Profile,
};
use prost_types::Timestamp;
use serde_json::json;
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{self, Bench},
        samples::registered,
    },
    kit::{
        later,
        status::{fails, failure},
    },
    request_ids::{ONE, THREE, TWO, change, create, creation, delete, deletion, renamed, update},
};

/// All dialects, each on a sandbox of its own, where every call has two seconds.
async fn benches() -> Vec<Bench> {
    join_all(registered().into_iter().map(|sample| bench::within("2s", sample))).await
}

async fn page(
    bench: &Bench,
    parent: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListDoubtfulWritesResponse, Status> {
    let (parent, page_token) = (parent.to_owned(), page_token.to_owned());
    let request = ListDoubtfulWritesRequest { parent, page_size, page_token };
    let answer = bench.gateway.backends.clone().list_doubtful_writes(request).await;
    answer.map(Response::into_inner)
}

async fn doubts(bench: &Bench) -> Vec<DoubtfulWrite> {
    page(bench, &bench.parent(), 0, "").await.unwrap().doubtful_writes
}

async fn close(
    bench: &Bench,
    name: &str,
    outcome: DoubtOutcome,
    profile: &str,
) -> Result<DoubtfulWrite, Status> {
    let request = CloseDoubtfulWriteRequest {
        name: name.to_owned(),
        outcome: outcome.into(),
        note: "seen in the portal".to_owned(),
        profile: profile.to_owned(),
    };
    let answer = bench.gateway.backends.clone().close_doubtful_write(request).await;
    answer.map(|answer| answer.into_inner().doubtful_write.unwrap())
}

/// A creation, a change, and a deletion that do not arrive, and are in doubt.
struct Lost {
    there: Profile,
    asked: Profile,
    /// As they are listed.
    writes: Vec<DoubtfulWrite>,
}

/// Loses a write of each kind; the deletion under this id.
async fn lost(bench: &Bench, id_of_deletion: &str) -> Lost {
    let (there, asked) = (bench.create(bench.full()).await.unwrap(), bench.full());
    let operations = bench.sample.operations;
    for operation in [operations.create, operations.update, operations.delete] {
        bench.arm(operation, &json!({"kind": "drop"}), 1).await;
    }
    let lost = [
        create(bench, creation(bench, ONE, &asked)).await.map(drop),
        update(bench, change(TWO, &renamed(&there, "Renamed"))).await.map(drop),
        delete(bench, deletion(id_of_deletion, &there.name)).await,
    ];
    for result in lost {
        let failed = failure(result);
        assert_eq!(failed.reason, "WRITE_OUTCOME_UNKNOWN", "{failed:#?}");
    }
    let writes = doubts(bench).await;
    assert_eq!(writes.len(), 3, "{writes:#?}");
    Lost { there, asked, writes }
}

/// Fails all reads, so that the gateway cannot find out anything by itself.
async fn blind(bench: &Bench) {
    let operations = bench.sample.operations;
    for operation in HashSet::from([operations.get, operations.list]) {
        bench.arm(operation, &json!({"kind": "status", "status": 500}), 0).await;
    }
}

#[tokio::test]
async fn a_write_in_doubt_is_listed_with_what_a_person_can_do() {
    let test = async |bench: &Bench| {
        let Lost { there, asked, writes } = lost(bench, "").await;
        let (parent, what) = (bench.parent(), bench.sample.dialect);
        let expected = [
            ("CreateProfile", &parent, asked.display_name.as_str(), ONE),
            ("UpdateProfile", &there.name, "", TWO),
            ("DeleteProfile", &there.name, "", ""),
        ];
        let begins = format!("{parent}/doubtfulWrites/");
        for (write, (method, resource, display_name, request_id)) in writes.iter().zip(expected) {
            assert!(write.name.starts_with(&begins), "{write:#?}");
            assert_eq!((write.method.as_str(), &write.resource), (method, resource), "{what}");
            let told = (write.display_name.as_str(), write.request_id.as_str());
            assert_eq!(told, (display_name, request_id), "{what}");
            assert_eq!((write.caller.as_str(), write.call_id.len()), ("127.0.0.1", 16));
            assert_eq!(write.attempt_count, 1, "{what}: {write:#?}");
            let order = |time: &Option<Timestamp>| {
                let time = time.as_ref().unwrap();
                (time.seconds, time.nanos)
            };
            assert!(order(&write.first_sent_time) <= order(&write.last_sent_time), "{write:#?}");
            assert!(order(&write.last_sent_time) < order(&write.expire_time), "{write:#?}");
            assert_ne!(write.state(), DoubtState::Unspecified, "{write:#?}");
            for said in [resource.as_str(), request_id, "CloseDoubtfulWrite"] {
                assert!(write.advice.contains(said), "{said}: {write:#?}");
            }
        }
        assert!(writes[0].fields.contains(&"display_name".to_owned()), "{writes:#?}");
        assert_eq!(writes[1].fields, ["display_name"], "{what}");
        assert_eq!(writes[2].fields, [] as [&str; 0], "{what}");
        assert_eq!(page(bench, "backends/-", 0, "").await.unwrap().doubtful_writes, writes);
    };
    join_all(benches().await.iter().map(test)).await;
}

#[tokio::test]
async fn a_repeat_that_settles_a_write_takes_it_from_the_list() {
    let test = async |bench: &Bench| {
        let Lost { there, writes, .. } = lost(bench, "").await;
        later(std::time::Duration::from_secs(61)).await;
        let changed = update(bench, change(TWO, &renamed(&there, "Renamed"))).await.unwrap();
        assert_eq!(changed.display_name, "Renamed");
        let left = doubts(bench).await;
        assert!(left.iter().all(|write| write.name != writes[1].name), "{left:#?}");
    };
    for bench in benches().await {
        test(&bench).await;
    }
}

#[tokio::test]
async fn pages_cover_the_list_once_and_their_tokens_are_for_nothing_else() {
    for bench in benches().await {
        let Lost { writes, .. } = lost(&bench, THREE).await;
        let (parent, mut seen, mut token) = (bench.parent(), Vec::new(), String::new());
        for _ in &writes {
            let page = page(&bench, &parent, 1, &token).await.unwrap();
            seen.extend(page.doubtful_writes);
            token = page.next_page_token;
            assert_eq!(token.is_empty(), seen.len() == writes.len());
        }
        let names = |writes: &[DoubtfulWrite]| -> Vec<String> {
            writes.iter().map(|write| write.name.clone()).collect()
        };
        assert_eq!(names(&seen), names(&writes));

        let token = page(&bench, &parent, 2, "").await.unwrap().next_page_token;
        let of_profiles = ListProfilesRequest {
            parent: parent.clone(),
            page_size: 1,
            ..ListProfilesRequest::default()
        };
        let mut profiles = bench.gateway.profiles.clone();
        let listed = profiles.list_profiles(of_profiles.clone()).await.unwrap().into_inner();
        let with_token = ListProfilesRequest { page_token: token.clone(), ..of_profiles };
        for refused in [
            page(&bench, "backends/-", 2, &token).await.map(drop),
            page(&bench, &parent, 2, &listed.next_page_token).await.map(drop),
            page(&bench, &parent, 2, "made up").await.map(drop),
            profiles.list_profiles(with_token).await.map(drop),
        ] {
            let refused = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
            assert_eq!(refused.fields, ["page_token"]);
        }
    }
}

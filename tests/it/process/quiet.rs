//! Streams on which nothing happens: they show that they are alive, and what they cannot see.

use std::collections::BTreeMap;

use profile_gateway::pb::{
    ChangeKind, Profile, UpdateProfileRequest, WatchBookmark, WatchProfilesRequest,
    WatchProfilesResponse,
};
use serde_json::json;
use tonic::{Streaming, metadata::MetadataMap};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    calls::{arm, channel, profiles},
    child::{Gateway, patiently, sandbox, serve},
};
use crate::kit::model::mask;

const KEEP_ALIVE: (&str, &str) = ("PROFILE_GATEWAY__SERVER__STREAM_KEEP_ALIVE", "1s");

type Watching = Streaming<WatchProfilesResponse>;

async fn watch(gateway: &Gateway, parent: &str, resume_token: &str) -> Watching {
    let request =
        WatchProfilesRequest { parent: parent.into(), resume_token: resume_token.to_owned() };
    let stream = profiles(gateway).await.watch_profiles(request).await.unwrap();
    let (_, stream, _): (MetadataMap, _, _) = stream.into_parts();
    stream
}

/// The next bookmark, and how many changes come before it.
async fn bookmark(stream: &mut Watching) -> (usize, WatchBookmark) {
    let mut changes = 0;
    loop {
        let message = patiently("a bookmark", stream.message()).await.unwrap().unwrap();
        changes += message.changes.len();
        if let Some(bookmark) = message.bookmark {
            assert_eq!(message.changes, [], "a bookmark comes alone");
            return (changes, bookmark);
        }
    }
}

#[tokio::test]
async fn a_quiet_watch_sends_bookmarks_that_resume_it() {
    let sandbox = sandbox().await;
    let gateway = serve(&sandbox.config, &[KEEP_ALIVE]).await;
    for parent in ["backends/sft", "backends/-"] {
        let mut stream = watch(&gateway, parent, "").await;
        let (sent, first) = bookmark(&mut stream).await;
        assert!(sent > 0 && first.unreachable.is_empty(), "{sent} {first:?}");
        let (sent, second) = bookmark(&mut stream).await;
        assert_eq!((sent, &second.unreachable), (0, &first.unreachable), "{parent}");
        drop(stream);
        // What happens meanwhile is sent, and nothing else.
        let name = "backends/sft/profiles/SP_352";
        let update = UpdateProfileRequest {
            profile: Some(Profile {
                name: name.into(),
                display_name: format!("Renamed without {parent}"),
                ..Profile::default()
            }),
            update_mask: Some(mask(&["display_name"])),
            ..UpdateProfileRequest::default()
        };
        profiles(&gateway).await.update_profile(update).await.unwrap();
        let mut stream = watch(&gateway, parent, &second.resume_token).await;
        let message = patiently("a change", stream.message()).await.unwrap().unwrap();
        assert_eq!(message.changes.len(), 1, "{message:?}");
        assert_eq!(message.changes[0].kind(), ChangeKind::Changed);
        assert_eq!(message.changes[0].profile.as_ref().unwrap().name, name);
    }
}

#[tokio::test]
async fn a_bookmark_names_the_backends_that_cannot_be_seen() {
    let sandbox = sandbox().await;
    let twice = sandbox.config.replacen("[backends.sft]", "[backends.second]", 1);
    let watched = "watch_interval = \"1s\"\nmax_attempts = 1\ncircuit_breaker = \"off\"\n";
    let config = format!("{}\n{watched}\n{twice}\n{watched}", sandbox.config);
    let gateway = serve(&config, &[KEEP_ALIVE]).await;
    let mut stream = watch(&gateway, "backends/-", "").await;
    let (_, seen) = bookmark(&mut stream).await;
    assert_eq!(seen.unreachable, Vec::<String>::new());
    for (fault, recovers) in [
        (json!({ "kind": "status", "status": 503 }), true),
        // A poll that does not end says nothing either.
        (json!({ "kind": "hang" }), false),
    ] {
        arm(&sandbox.url, "GetServiceProfile", fault).await;
        // Long before the request is given up, after which it would be said in any case.
        let (mut unseen, mut bookmarks) = (WatchBookmark::default(), 0);
        while unseen.unreachable.len() < 2 {
            let (changes, bookmark) = bookmark(&mut stream).await;
            assert_eq!(changes, 0);
            (unseen, bookmarks) = (bookmark, bookmarks + 1);
            assert!(bookmarks < 15, "{unseen:?}");
        }
        assert_eq!(unseen.unreachable, ["backends/second", "backends/sft"]);
        assert!(!unseen.resume_token.is_empty());
        let url = format!("{}/sandbox/faults", sandbox.url);
        reqwest::Client::new().delete(url).send().await.unwrap();
        while recovers && !bookmark(&mut stream).await.1.unreachable.is_empty() {}
    }
}

#[tokio::test]
async fn a_quiet_health_watch_repeats_the_status() {
    let sandbox = sandbox().await;
    let gateway = serve(&sandbox.config, &[KEEP_ALIVE]).await;
    let mut client = HealthClient::new(channel(gateway.grpc).await);
    for (service, status) in [
        ("", ServingStatus::Serving),
        ("backends/sft", ServingStatus::Serving),
        ("nope", ServingStatus::ServiceUnknown),
    ] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut stream = client.watch(request).await.unwrap().into_inner();
        let mut seen = BTreeMap::new();
        for _ in 0..3 {
            let message = patiently("a status", stream.message()).await.unwrap().unwrap();
            *seen.entry(message.status).or_insert(0) += 1;
        }
        assert_eq!(seen, BTreeMap::from([(status.into(), 3)]), "{service}");
    }
}

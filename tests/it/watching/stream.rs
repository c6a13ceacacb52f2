//! A client that watches, and what it has learned.

use std::{collections::BTreeMap, time::Duration};

use profile_gateway::pb::{
    ChangeKind, Profile, WatchProfilesRequest, WatchProfilesResponse,
    profile_service_client::ProfileServiceClient,
};
use tokio::time::timeout;
use tonic::{Status, Streaming, transport::Channel};

use crate::kit::gateway::{self, Gateway};
use crate::kit::sandbox::Sandbox;

/// Longer than any test; no poll but those that a test asks for.
pub const NEVER: &str = "1h";
/// For a broken program, not for a slow one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happened to which profile, by id, and which paths changed.
pub type Told = (ChangeKind, String, Vec<String>);

/// A stream, and the profiles as its changes make them.
pub struct Watch {
    stream: Streaming<WatchProfilesResponse>,
    pub profiles: BTreeMap<String, Profile>,
    pub token: String,
    pub complete: bool,
}

/// A gateway over all simulated upstreams, with this time between two looks.
pub async fn over_all(sandbox: &Sandbox, interval: &str) -> Gateway {
    let mut config = String::new();
    for section in sandbox.config().split("\n\n") {
        let line = format!("watch_interval = \"{interval}\"\nmax_attempts = 1");
        config += &format!("{section}\n{line}\ncircuit_breaker = \"off\"\n");
    }
    gateway::gateway().section(&config).start().await
}

pub fn request(parent: &str, token: &str) -> WatchProfilesRequest {
    WatchProfilesRequest { parent: parent.to_owned(), resume_token: token.to_owned() }
}

/// Begins a stream.
pub async fn open(gateway: &Gateway, parent: &str, token: &str) -> Result<Watch, Status> {
    open_over(gateway.profiles.clone(), parent, token).await
}

/// The same at any gateway.
pub async fn open_over(
    mut client: ProfileServiceClient<Channel>,
    parent: &str,
    token: &str,
) -> Result<Watch, Status> {
    let stream = client.watch_profiles(request(parent, token)).await?;
    let (profiles, token) = (BTreeMap::new(), token.to_owned());
    Ok(Watch { stream: stream.into_inner(), profiles, token, complete: false })
}

/// Begins a stream and takes all profiles that it begins with.
pub async fn watch(gateway: &Gateway, parent: &str) -> Watch {
    let mut watch = open(gateway, parent, "").await.unwrap();
    watch.begin().await;
    watch
}

impl Watch {
    /// Takes all profiles that it begins with.
    pub async fn begin(&mut self) {
        while !self.complete {
            let told = self.next().await.unwrap();
            assert!(told.iter().all(|(kind, ..)| *kind == ChangeKind::Added), "{told:?}");
        }
    }

    /// The next changes. Nothing is told twice, and nothing that is not so.
    pub async fn next(&mut self) -> Result<Vec<Told>, Status> {
        let answer = timeout(PATIENCE, self.stream.message()).await.expect("nothing comes");
        let answer = answer?.expect("the stream ended without a status");
        let mut told = Vec::new();
        for change in answer.changes {
            let (kind, profile) = (change.kind(), change.profile.unwrap());
            let name = profile.name.clone();
            let before = match kind {
                ChangeKind::Removed => {
                    let bare = Profile { name: name.clone(), ..Profile::default() };
                    assert_eq!(profile, bare, "only the name is left");
                    self.profiles.remove(&name)
                }
                _ => self.profiles.insert(name.clone(), profile.clone()),
            };
            assert_eq!(before.is_none(), kind == ChangeKind::Added, "{kind:?} {name}");
            assert_ne!(before.as_ref(), Some(&profile), "{kind:?} {name}");
            assert!(!change.resume_token.is_empty());
            self.token = change.resume_token;
            let paths = change.changed_fields.map(|mask| mask.paths).unwrap_or_default();
            assert_eq!(paths.is_empty(), kind != ChangeKind::Changed, "{kind:?} {name}");
            told.push((kind, name, paths));
        }
        self.complete = answer.snapshot_complete;
        Ok(told)
    }

    /// Takes changes until these are all that came.
    pub async fn expect(&mut self, expected: &[(ChangeKind, &str, &[&str])]) {
        let told = self.told(expected.len()).await;
        assert_told(&told, expected);
    }

    /// The same where it does not matter which profile is before which.
    pub async fn expect_in_any_order(&mut self, expected: &[(ChangeKind, &str, &[&str])]) {
        let (mut told, mut expected) = (self.told(expected.len()).await, expected.to_vec());
        told.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
        expected.sort_by_key(|(_, name, _)| *name);
        assert_told(&told, &expected);
    }

    async fn told(&mut self, changes: usize) -> Vec<Told> {
        let mut told = Vec::new();
        while told.len() < changes {
            told.extend(self.next().await.unwrap());
        }
        told
    }

    /// The end of the stream, whatever comes before.
    pub async fn end(mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }

    pub fn ids(&self) -> Vec<&str> {
        self.profiles.keys().map(|name| name.rsplit('/').next().unwrap()).collect()
    }
}

fn assert_told(told: &[Told], expected: &[(ChangeKind, &str, &[&str])]) {
    let told: Vec<(ChangeKind, &str, Vec<&str>)> = told
        .iter()
        .map(|(kind, name, paths)| {
            (*kind, name.as_str(), paths.iter().map(String::as_str).collect())
        })
        .collect();
    let expected: Vec<_> =
        expected.iter().map(|(kind, name, paths)| (*kind, *name, paths.to_vec())).collect();
    assert_eq!(told, expected);
}

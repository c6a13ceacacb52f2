//! A stream of changes that goes on at another replica whenever it ends. What it has told in the
//! end is what the list shows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use profile_gateway::pb::{ChangeKind, ListProfilesRequest, Profile, WatchProfilesRequest};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{ask::reason, backends::BACKENDS, field::Field};
use crate::kit::{chance::Chance, gateway::fresh, model};

/// A stream that is silent for so long is looked at: whether it has told all, or all is over.
const SILENT: Duration = Duration::from_millis(500);

/// What a stream ends with that has told nothing for a long time, although not all is told.
const SILENT_FOR_LONG: &str = "silent";

pub(super) struct Watcher {
    field: Arc<Field>,
    chance: Chance,
    parent: String,
    token: String,
    profiles: BTreeMap<String, Profile>,
    /// Whether the profiles are all that there are, and not still those of a snapshot.
    is_complete: bool,
}

impl Watcher {
    pub(super) fn new(field: Arc<Field>, mut chance: Chance) -> Self {
        let parent = format!("backends/{}", chance.pick(&BACKENDS));
        let (token, profiles) = (String::new(), BTreeMap::new());
        Self { field, chance, parent, token, profiles, is_complete: false }
    }

    /// Watches until all calls are over, and then until it has told what the list shows.
    pub(super) async fn watch(mut self) {
        loop {
            let replica = self.field.any(&mut self.chance);
            let ended = self.stream(replica).await;
            let Err(status) = ended else { break };
            // One that cannot be opened yet is not one that tells nothing, unless it never can.
            let is_silent = self.field.is_told() && status.message() == SILENT_FOR_LONG;
            if is_silent || self.field.is_over_for_long() {
                let about = format!("{} from {replica}, at last: {status:?}", self.parent);
                self.field.history.lock().unwrap().untold.push(about);
                return;
            }
            let why = reason(&status);
            self.field.count(&format!("stream {}", why.as_deref().unwrap_or("ended")));
            if matches!(why.as_deref(), Some("RESUME_TOKEN_EXPIRED" | "WATCH_FELL_BEHIND")) {
                self.start_over();
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.field.count("stream told all");
    }

    fn start_over(&mut self) {
        self.token.clear();
        self.profiles.clear();
        self.is_complete = false;
    }

    async fn stream(&mut self, replica: usize) -> Result<(), Status> {
        let mut client = self.field.replicas[replica].profiles();
        if self.token.is_empty() {
            self.start_over();
        }
        let (parent, resume_token) = (self.parent.clone(), self.token.clone());
        let request = WatchProfilesRequest { parent, resume_token };
        let open = timeout(Duration::from_secs(6), client.watch_profiles(request)).await;
        let mut stream = open.map_err(|_| Status::unknown("no answer"))??.into_inner();
        if !self.token.is_empty() {
            self.field.count("stream resumed");
            self.is_complete = true;
        }
        let mut silent = 0;
        loop {
            let Ok(answer) = timeout(SILENT, stream.message()).await else {
                silent += 1;
                if self.field.is_over() && self.is_complete && self.is_all(replica).await {
                    return Ok(());
                }
                // A replica that was stopped or cut off may have no more to tell.
                if silent > 40 {
                    return Err(Status::unknown(SILENT_FOR_LONG));
                }
                continue;
            };
            silent = 0;
            let answer = answer?.ok_or_else(|| Status::unknown("ended"))?;
            for change in answer.changes {
                self.told(change.kind(), change.profile.unwrap(), change.resume_token);
            }
            self.is_complete |= answer.snapshot_complete;
            if let Some(bookmark) = answer.bookmark {
                self.token = bookmark.resume_token;
            }
            // A caller leaves now and then, and goes on elsewhere.
            if self.is_complete && !self.field.is_over() && self.chance.one_in(60) {
                return Err(Status::cancelled("left"));
            }
        }
    }

    fn told(&mut self, kind: ChangeKind, profile: Profile, token: String) {
        let name = profile.name.clone();
        let before = match kind {
            ChangeKind::Removed => self.profiles.remove(&name),
            _ => self.profiles.insert(name.clone(), profile.clone()),
        };
        assert_eq!(before.is_none(), kind == ChangeKind::Added, "{kind:?} {name}: {before:?}");
        assert_ne!(before.as_ref(), Some(&profile), "told twice: {kind:?} {name}");
        assert!(!token.is_empty(), "no token: {kind:?} {name}");
        if self.is_complete {
            self.field.count("stream changes");
        }
        self.token = token;
    }

    /// Whether it has told exactly what the list shows.
    async fn is_all(&self, replica: usize) -> bool {
        let mut request: ListProfilesRequest = model::list(&self.parent);
        request.page_size = 1000;
        let mut client = self.field.replicas[replica].profiles();
        let Ok(answer) = client.list_profiles(fresh(request)).await else { return false };
        let all: BTreeMap<String, Profile> =
            answer.into_inner().profiles.into_iter().map(|p| (p.name.clone(), p)).collect();
        all == self.profiles
    }
}

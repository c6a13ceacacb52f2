//! Reads of the soak, and what is there in the end.

use std::{collections::HashMap, time::Duration};

use profile_gateway::pb::{GetProfileRequest, Profile};
use tokio::time::{sleep, timeout};
use tonic::{Request, Status, metadata::MetadataMap};

use super::{
    ask::reason,
    backends::BACKENDS,
    field::{Field, Known},
    worker::Worker,
};
use crate::{
    kit::{gateway::fresh, history::version, model},
    replicas::history::{Read, Services},
};

const PATIENCE: Duration = Duration::from_secs(6);
/// What a caller wants of a cache, most often nothing.
const WANTED: [&str; 6] = ["", "", "", "", "no-cache", "max-age=0"];
/// How an answer from memory is marked.
const REMEMBERED: [&str; 2] = ["hit", "stale"];
/// How long a replica has to serve again. On a busy machine, it may take it a while to connect to
/// the store, and then up to half a minute to log in.
const SERVES_WITHIN: Duration = Duration::from_secs(300);
/// How long after the last call something may still happen.
const SETTLED: Duration = Duration::from_secs(5);

fn seen(profile: &Profile) -> (u64, Option<Services>) {
    let services = profile.services.iter().map(|service| service.id.clone()).collect();
    (version(&profile.display_name).unwrap().1, Some(services))
}

/// Whether an answer was there before it was asked for.
fn is_remembered(metadata: &MetadataMap) -> bool {
    let cache = metadata.get("x-profile-cache").and_then(|value| value.to_str().ok());
    cache.is_some_and(|cache| REMEMBERED.contains(&cache))
}

async fn patient<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(Status::unknown("no answer")))
}

impl Worker {
    fn asked<T>(&mut self, message: T) -> (Request<T>, &'static str) {
        let mut request = Request::new(message);
        let wanted = self.chance.pick(&WANTED);
        if !wanted.is_empty() {
            request.metadata_mut().insert("cache-control", wanted.parse().unwrap());
        }
        (request, wanted)
    }

    /// The etag of a profile, as the upstream has it now.
    pub(super) async fn etag(&mut self, known: &Known) -> Option<String> {
        let replica = self.field.any(&mut self.chance);
        let request = fresh(GetProfileRequest { name: known.name.clone(), read_mask: None });
        let mut client = self.field.replicas[replica].profiles();
        let profile = patient(client.get_profile(request)).await.ok()?.into_inner();
        Some(profile.etag).filter(|etag| !etag.is_empty())
    }

    pub(super) async fn get(&mut self) {
        let known = match self.chance.one_in(10) {
            true => {
                let known = self.field.known.lock().unwrap();
                let gone = known.iter().rfind(|known| known.is_deleted);
                gone.cloned()
            }
            false => self.pick(),
        };
        let Some(known) = known else { return };
        let replica = self.field.any(&mut self.chance);
        let message = GetProfileRequest { name: known.name.clone(), read_mask: None };
        let (request, wanted) = self.asked(message);
        self.field.get(&known, replica, request, wanted).await;
    }

    pub(super) async fn list(&mut self) {
        let backend = self.chance.pick(&BACKENDS);
        let replica = self.field.any(&mut self.chance);
        let (request, wanted) = self.asked(of_all(backend));
        self.field.list(backend, replica, request, wanted).await;
    }
}

fn of_all(backend: &str) -> profile_gateway::pb::ListProfilesRequest {
    let mut request = model::list(&format!("backends/{backend}"));
    request.page_size = 1000;
    request
}

/// Asks again until it holds.
async fn in_the_end(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !holds().await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SERVES_WITHIN, asked).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

impl Field {
    async fn get(
        &self,
        known: &Known,
        replica: usize,
        request: Request<GetProfileRequest>,
        wanted: &str,
    ) -> bool {
        let mut client = self.replicas[replica].profiles();
        let start = self.now();
        let result = patient(client.get_profile(request)).await;
        let end = self.now();
        let (seen, is_remembered) = match result {
            Ok(answer) => (Some(seen(answer.get_ref())), is_remembered(answer.metadata())),
            Err(status) => match reason(&status).as_deref() {
                Some("PROFILE_NOT_FOUND") => (None, is_remembered(status.metadata())),
                why => {
                    self.count(&format!("get {}", why.unwrap_or("unanswered")));
                    return false;
                }
            },
        };
        self.count("get");
        let how = format!("get {wanted:?} from {replica}");
        let read = Read { id: known.id(), start, end, seen, how, is_remembered };
        self.history.lock().unwrap().reads.push(read);
        true
    }

    /// As most callers read.
    pub(super) async fn get_plainly(&self, known: &Known, replica: usize) -> bool {
        let message = GetProfileRequest { name: known.name.clone(), read_mask: None };
        self.get(known, replica, Request::new(message), "").await
    }

    async fn list(
        &self,
        backend: &str,
        replica: usize,
        request: Request<profile_gateway::pb::ListProfilesRequest>,
        wanted: &str,
    ) -> bool {
        let mut client = self.replicas[replica].profiles();
        let mut known = self.known.lock().unwrap().clone();
        known.retain(|known| known.backend == backend);
        let start = self.now();
        let result = patient(client.list_profiles(request)).await;
        let end = self.now();
        let Ok(answer) = result else {
            self.count("list failed");
            return false;
        };
        self.count("list");
        let how = format!("list {wanted:?} from {replica}");
        let is_remembered = is_remembered(answer.metadata());
        let found: HashMap<String, Profile> =
            answer.into_inner().profiles.into_iter().map(|p| (p.name.clone(), p)).collect();
        let reads = known.into_iter().map(|known| {
            let seen = found.get(&known.name).map(seen);
            Read { id: known.id(), start, end, seen, how: how.clone(), is_remembered }
        });
        self.history.lock().unwrap().reads.extend(reads);
        true
    }

    /// Everything that is there in the end, as each replica shows it, from its memory and past it.
    pub(super) async fn look_at_last(&self) {
        sleep(SETTLED).await;
        let all = self.known.lock().unwrap().clone();
        for replica in 0..self.replicas.len() {
            for backend in BACKENDS {
                in_the_end("a replica lists again", async || {
                    self.list(backend, replica, fresh(of_all(backend)), "at last, no-cache").await
                        && self
                            .list(backend, replica, Request::new(of_all(backend)), "at last")
                            .await
                })
                .await;
            }
            for known in &all {
                let message = GetProfileRequest { name: known.name.clone(), read_mask: None };
                in_the_end("a replica reads again", async || {
                    let request = Request::new(message.clone());
                    self.get(known, replica, request, "at last").await
                })
                .await;
            }
        }
    }
}

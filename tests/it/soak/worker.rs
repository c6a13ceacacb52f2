//! A caller of the soak: writes its own profiles, one write at a time, and reads everybody's.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use profile_gateway::pb::{
    AttachServiceRequest, CreateProfileRequest, DeleteProfileRequest, DetachServiceRequest,
    GetProfileRequest, Profile, Service, UpdateProfileRequest,
};
use tokio::time::sleep;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Chance, Field};
use crate::kit::{
    history::{Call, Kind, Read, Said, display_name, version},
    model,
    status::failure,
};

/// Most profiles that one worker keeps.
const PROFILES: usize = 5;
/// How often one write is asked for at most.
const ATTEMPTS: u32 = 3;
/// A service that no profile of the samples has, with no limits.
const SERVICE: &str = "3";

pub(super) struct Worker {
    field: Arc<Field>,
    chance: Chance,
    own: Vec<Own>,
}

/// A profile of this worker's.
#[derive(Clone, Debug)]
struct Own {
    number: u64,
    name: String,
    /// The last version that any call has tried to write.
    version: u64,
    /// Whether services are attached and detached, rather than its name changed.
    is_edited: bool,
    is_attached: bool,
}

/// A write as it is asked for, again and again.
#[derive(Clone, Debug)]
enum Ask {
    Create(CreateProfileRequest),
    Update(UpdateProfileRequest),
    Delete(DeleteProfileRequest),
    Attach(AttachServiceRequest),
    Detach(DetachServiceRequest),
}

/// How a write ended for this worker, after all repeats.
enum End {
    Ok(Box<Option<Profile>>),
    Failed,
    /// This profile is not written again.
    Unclear,
}

impl Worker {
    pub(super) fn new(field: Arc<Field>, chance: Chance) -> Self {
        Self { field, chance, own: Vec::new() }
    }

    pub(super) async fn work(mut self, operations: u64) {
        for _ in 0..operations {
            let own = self.own.len();
            match self.chance.below(10) {
                _ if own == 0 => self.create().await,
                0 | 1 if own < PROFILES => self.create().await,
                2 if own > 1 => self.delete().await,
                2..6 => self.change().await,
                6..9 => self.read().await,
                _ => self.list().await,
            }
        }
    }

    async fn create(&mut self) {
        let number = self.field.numbers.fetch_add(1, SeqCst);
        let bench = &self.field.bench;
        let profile = Profile { display_name: display_name(number, 0), ..bench.full() };
        let ask = Ask::Create(CreateProfileRequest {
            parent: bench.parent(),
            profile: Some(profile),
            ..CreateProfileRequest::default()
        });
        let has_services = bench.sample.upstream != "pcc";
        if let End::Ok(created) = self.write(ask, Kind::Create, number, 0).await {
            let created = created.expect("a creation answers with the profile");
            self.field.known.lock().unwrap().push((number, created.name.clone()));
            self.own.push(Own {
                number,
                name: created.name,
                version: 0,
                is_edited: has_services && self.chance.one_in(2),
                is_attached: false,
            });
        }
    }

    async fn delete(&mut self) {
        let (at, own) = self.pick();
        let name = own.name.clone();
        let ask = Ask::Delete(DeleteProfileRequest { name, ..DeleteProfileRequest::default() });
        self.get(own.number, own.name.clone()).await;
        match self.write(ask, Kind::Delete, own.number, 0).await {
            End::Failed => {}
            End::Ok(_) => {
                self.own.remove(at);
                self.get(own.number, own.name).await;
            }
            End::Unclear => drop(self.own.remove(at)),
        }
    }

    async fn change(&mut self) {
        let (at, own) = self.pick();
        let (number, version) = (own.number, own.version + 1);
        // What is in the cache before a write must not be found after it.
        self.get(number, own.name.clone()).await;
        let end = if own.is_edited {
            let ask = edit(&own);
            self.write(ask, Kind::Edit, number, 0).await
        } else {
            let display_name = display_name(number, version);
            let name = own.name.clone();
            let profile = Some(Profile { name, display_name, ..Profile::default() });
            let update_mask = Some(model::mask(&["display_name"]));
            let request = UpdateProfileRequest { profile, update_mask, ..Default::default() };
            self.own[at].version = version;
            self.write(Ask::Update(request), Kind::Update, number, version).await
        };
        match end {
            End::Ok(_) => {
                self.own[at].is_attached = !own.is_attached;
                self.get(number, own.name).await;
            }
            End::Failed => {}
            End::Unclear => drop(self.own.remove(at)),
        }
    }

    fn pick(&mut self) -> (usize, Own) {
        let at = usize::try_from(self.chance.below(self.own.len() as u64)).unwrap();
        (at, self.own[at].clone())
    }

    /// Asks until there is a clear answer, or often enough.
    async fn write(&mut self, mut ask: Ask, kind: Kind, profile: u64, version: u64) -> End {
        let has_id = !self.chance.one_in(5);
        if has_id {
            let id = u128::from(self.chance.below(1 << 31)) << 64 | u128::from(profile);
            *ask.request_id() = Uuid::from_u128(id << 8 | u128::from(version)).to_string();
        }
        let (mut write, mut unclear) = (0, false);
        for attempt in 1..=ATTEMPTS {
            let start = self.field.now();
            let result = self.send(ask.clone()).await;
            let end = self.field.now();
            if write == 0 {
                write = start.tick;
            }
            let said = match &result {
                Ok(Some(written)) if written.etag.is_empty() => Said::Unread,
                Ok(_) => Said::Ok,
                // The layer in front of everything has not read the request, so that it cannot know
                // that this is a repeat: it speaks of this call alone.
                Err(status) if unclear && status.message().ends_with("the deadline passed") => {
                    Said::Unknown
                }
                Err(status) => said(status),
            };
            self.field.count(format!("{kind:?} {said:?}"));
            let call = Call { kind, write, profile, version, start, end, said: said.clone() };
            self.field.history.lock().unwrap().calls.push(call);
            let again = has_id && attempt < ATTEMPTS;
            match said {
                Said::Ok => {
                    if unclear {
                        self.field.count("unknown, then ok".to_owned());
                    }
                    return End::Ok(Box::new(result.unwrap()));
                }
                Said::Failed(_) if again && self.chance.one_in(3) => {}
                Said::Failed(_) => return End::Failed,
                Said::Unknown if again => unclear = true,
                Said::Partial if again && kind == Kind::Create => {}
                Said::Unknown | Said::Partial | Said::Unread => return End::Unclear,
            }
        }
        End::Unclear
    }

    async fn send(&self, ask: Ask) -> Result<Option<Profile>, Status> {
        let mut client = self.field.bench.gateway.profiles.clone();
        let answer = match ask {
            Ask::Create(request) => client.create_profile(request).await,
            Ask::Update(request) => client.update_profile(request).await,
            Ask::Attach(request) => client.attach_service(request).await,
            Ask::Detach(request) => client.detach_service(request).await,
            Ask::Delete(request) => return client.delete_profile(request).await.map(|_| None),
        };
        answer.map(Response::into_inner).map(Some)
    }

    async fn read(&mut self) {
        let known = self.field.known.lock().unwrap().clone();
        if known.is_empty() {
            return;
        }
        // Often what is written now.
        let recent = usize::try_from(self.chance.below(known.len().min(8) as u64)).unwrap();
        let (number, name) = known[known.len() - 1 - recent].clone();
        self.get(number, name).await;
    }

    /// Reads what is written, until all workers are done.
    pub(super) async fn read_on(mut self) {
        while !self.field.over.load(SeqCst) {
            self.read().await;
            sleep(Duration::from_millis(self.chance.below(10))).await;
        }
    }

    async fn get(&mut self, number: u64, name: String) {
        let request = self.asked(GetProfileRequest { name, read_mask: None });
        let start = self.field.now();
        let result = self.field.bench.gateway.profiles.clone().get_profile(request).await;
        let end = self.field.now();
        self.field.count("reads".to_owned());
        let seen = match &result {
            Ok(answer) => Some(version(&answer.get_ref().display_name).unwrap().1),
            Err(status) if failure(Err::<(), _>(status.clone())).reason == "PROFILE_NOT_FOUND" => {
                None
            }
            Err(_) => return,
        };
        let read = Read { profile: number, start, end, seen, how: "get".to_owned() };
        self.field.history.lock().unwrap().reads.push(read);
    }

    async fn list(&mut self) {
        let known = self.field.known.lock().unwrap().clone();
        let mut request = model::list(&self.field.bench.parent());
        request.page_size = 1000;
        let request = self.asked(request);
        let start = self.field.now();
        let result = self.field.bench.gateway.profiles.clone().list_profiles(request).await;
        let end = self.field.now();
        self.field.count("reads".to_owned());
        let Ok(answer) = result else { return };
        let found = answer.into_inner().profiles;
        let found: Vec<_> = found.iter().filter_map(|p| version(&p.display_name)).collect();
        let reads = known.into_iter().map(|(profile, _)| {
            let seen = found.iter().find(|(number, _)| *number == profile);
            let seen = seen.map(|(_, version)| *version);
            Read { profile, start, end, seen, how: "list".to_owned() }
        });
        self.field.history.lock().unwrap().reads.extend(reads);
    }

    fn asked<T>(&mut self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let control = self.chance.pick(&["", "", "", "no-cache", "max-age=0"]);
        if !control.is_empty() {
            request.metadata_mut().insert("cache-control", control.parse().unwrap());
        }
        request
    }
}

fn edit(own: &Own) -> Ask {
    let name = own.name.clone();
    let service = Some(Service { id: SERVICE.to_owned(), ..Service::default() });
    match own.is_attached {
        false => Ask::Attach(AttachServiceRequest { name, service, ..Default::default() }),
        true => Ask::Detach(DetachServiceRequest { name, service, ..Default::default() }),
    }
}

impl Ask {
    fn request_id(&mut self) -> &mut String {
        match self {
            Self::Create(request) => &mut request.request_id,
            Self::Update(request) => &mut request.request_id,
            Self::Delete(request) => &mut request.request_id,
            Self::Attach(request) => &mut request.request_id,
            Self::Detach(request) => &mut request.request_id,
        }
    }
}

fn said(status: &Status) -> Said {
    let reason = failure(Err::<(), _>(status.clone())).reason;
    match reason.as_str() {
        "WRITE_OUTCOME_UNKNOWN" => Said::Unknown,
        "PARTIALLY_APPLIED" | "WRITE_NOT_APPLIED" => Said::Partial,
        _ => Said::Failed(reason),
    }
}

//! Callers that read, list and write through a load balancer all the time: what they were told, and
//! what they have done by that.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, Profile,
    profile_service_client::ProfileServiceClient,
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, transport::Channel};
use uuid::Uuid;

use crate::kit::{gateway::fresh, model, sandbox::Sandbox, until};

/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(20);
/// What is renamed all the time, each by one caller.
const RENAMED: [&str; 2] = ["SP_352", "SP_353"];
const READ: [&str; 3] = ["SP_2", "SP_361", "SP_352"];

/// Callers under way.
pub struct Load {
    stop: CancellationToken,
    told: Arc<Mutex<Told>>,
    callers: JoinSet<()>,
    ended: CancellationToken,
    had: JoinHandle<Effects>,
}

/// Effects on profiles of upstreams, and how often.
type Effects = BTreeMap<String, usize>;

/// How many calls there were of each method.
type Calls = BTreeMap<&'static str, usize>;

/// What all callers were told.
#[derive(Default)]
struct Told {
    calls: Calls,
    failed: Vec<String>,
    /// What was acknowledged.
    effects: Effects,
}

/// One of the callers, which share a connection to the load balancer.
#[derive(Clone)]
struct Caller {
    client: ProfileServiceClient<Channel>,
    stop: CancellationToken,
    told: Arc<Mutex<Told>>,
    /// Whether it repeats each write with its request id.
    repeats: bool,
}

impl Load {
    /// Begins, and waits until each method was called. With `repeats`, each write is repeated with
    /// its request id, which all replicas have to recognize.
    pub async fn begin(balancer: SocketAddr, sandbox: &Arc<Sandbox>, repeats: bool) -> Self {
        let [stop, ended] = [(); 2].map(|()| CancellationToken::new());
        let had = tokio::spawn(had(Arc::clone(sandbox), ended.clone()));
        let (told, mut callers) = (Arc::<Mutex<Told>>::default(), JoinSet::new());
        let client = super::client(balancer);
        let caller = Caller { client, stop: stop.clone(), told: Arc::clone(&told), repeats };
        for id in READ {
            callers.spawn(caller.clone().reads(id));
        }
        for id in RENAMED {
            callers.spawn(caller.clone().renames(id));
        }
        callers.spawn(caller.clone().lists());
        callers.spawn(caller.creates());
        let load = Self { stop, told, callers, ended, had };
        until("all methods are called", async || {
            let told = load.told.lock().unwrap();
            told.calls.len() == 5 && told.calls.values().all(|calls| *calls > 5)
        })
        .await;
        load
    }

    /// Ends. No call has failed, and each write had its effect once.
    pub async fn end(self) -> Calls {
        self.stop.cancel();
        self.callers.join_all().await;
        self.ended.cancel();
        let had = self.had.await.unwrap();
        let told = mem::take(&mut *self.told.lock().unwrap());
        assert_eq!(told.failed, Vec::<String>::new(), "of {:?}", told.calls);
        assert_eq!(had, told.effects, "what was done (left), and acknowledged (right)");
        told.calls
    }
}

/// What the upstreams did, until this has ended.
async fn had(sandbox: Arc<Sandbox>, ended: CancellationToken) -> Effects {
    let (mut seq, mut effects) = (0, Effects::new());
    loop {
        let is_last = ended.is_cancelled();
        for entry in sandbox.journal_after(seq).await {
            seq += 1;
            assert_eq!(entry["seq"], seq, "the journal has forgotten something");
            let Some(effect) = entry["effect"].as_object() else { continue };
            let kinds = ["created", "modified", "deleted"].into_iter();
            for (kind, id) in kinds.filter_map(|kind| Some((kind, effect.get(kind)?.as_str()?))) {
                let backend = entry["upstream"].as_str().unwrap();
                let name = format!("backends/{backend}/profiles/{id}");
                *effects.entry(format!("{kind} {name}")).or_default() += 1;
            }
        }
        if is_last {
            return effects;
        }
        sleep(PAUSE).await;
    }
}

impl Caller {
    async fn reads(self, id: &str) {
        while !self.stop.is_cancelled() {
            self.ask("get", self.client.clone().get_profile(model::get(id))).await;
            sleep(PAUSE).await;
            self.ask("get", self.client.clone().get_profile(fresh(model::get(id)))).await;
            sleep(PAUSE).await;
        }
    }

    async fn lists(self) {
        while !self.stop.is_cancelled() {
            let request = model::list(model::BACKEND);
            self.ask("list", self.client.clone().list_profiles(request.clone())).await;
            sleep(PAUSE).await;
            self.ask("list", self.client.clone().list_profiles(fresh(request))).await;
            sleep(PAUSE).await;
        }
    }

    async fn renames(self, id: &str) {
        let mut version = 0;
        while !self.stop.is_cancelled() {
            version += 1;
            let mut request = model::rename(id, &format!("{id} {version}"));
            request.request_id = Uuid::new_v4().to_string();
            let call = || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move { client.update_profile(request).await }
            };
            self.write("update", call, |profile: &Profile| format!("modified {}", profile.name))
                .await;
            sleep(PAUSE).await;
        }
    }

    /// Names are not unique there, so what is done twice is there twice.
    async fn creates(self) {
        while !self.stop.is_cancelled() {
            let display_name = format!("Created {}", Uuid::new_v4().simple());
            let request = CreateProfileRequest {
                parent: "backends/endpoint".to_owned(),
                profile: Some(Profile { display_name, ..Profile::default() }),
                request_id: Uuid::new_v4().to_string(),
                ..CreateProfileRequest::default()
            };
            let call = || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move { client.create_profile(request).await }
            };
            let effect = |profile: &Profile| format!("created {}", profile.name);
            let Some(profile) = self.write("create", call, effect).await else { continue };
            sleep(PAUSE).await;
            let request = DeleteProfileRequest {
                name: profile.name.clone(),
                request_id: Uuid::new_v4().to_string(),
                ..DeleteProfileRequest::default()
            };
            let call = || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move { client.delete_profile(request).await }
            };
            self.write("delete", call, |()| format!("deleted {}", profile.name)).await;
            sleep(PAUSE).await;
        }
    }

    /// Writes, and repeats that. Both have the same answer, and one effect.
    async fn write<T, F>(
        &self,
        method: &'static str,
        call: impl Fn() -> F,
        effect: impl FnOnce(&T) -> String,
    ) -> Option<T>
    where
        T: PartialEq + Debug,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = self.ask(method, call()).await?;
        let effect = effect(&answer);
        *self.told.lock().unwrap().effects.entry(effect).or_default() += 1;
        if self.repeats {
            let again = self.ask(method, call()).await?;
            assert_eq!(again, answer, "{method} is answered in another way");
        }
        Some(answer)
    }

    /// Notes what a call was told.
    async fn ask<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Option<T> {
        let answer = call.await;
        let mut told = self.told.lock().unwrap();
        *told.calls.entry(method).or_default() += 1;
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                told.failed.push(format!("{method}: {status:?}"));
                None
            }
        }
    }
}

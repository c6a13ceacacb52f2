//! A dialect on a sandbox of its own, called over gRPC.

use std::sync::atomic::{AtomicUsize, Ordering};

use profile_gateway::{
    model::fields::Fields,
    pb::{
        Capabilities, CreateProfileRequest, DeleteProfileRequest, GetBackendRequest,
        GetProfileRequest, Profile, UpdateProfileRequest,
    },
};
use serde_json::{Value, json};
use tonic::{Response, Status};

use super::samples::{self, Sample};
use crate::kit::{
    gateway::{self, AS_IT_IS, Gateway, fresh},
    model,
    sandbox::{Sandbox, sandbox},
    until,
};

/// A dialect under test.
pub struct Bench {
    pub sample: Sample,
    pub sandbox: Sandbox,
    pub gateway: Gateway,
    names: AtomicUsize,
}

/// A dialect with time enough.
pub async fn bench(sample: Sample) -> Bench {
    within("30s", sample).await
}

/// A dialect where every call has this long.
pub async fn within(time: &str, sample: Sample) -> Bench {
    caching(time, "", sample).await
}

/// The same with these lines in the section of the backend's cache.
pub async fn caching(time: &str, cache: &str, sample: Sample) -> Bench {
    let sandbox = sandbox().await;
    let gateway = gateway::over(&sandbox, sample.upstream, time, cache).await;
    Bench::of(sample, sandbox, gateway).await
}

/// A dialect where every call has this long, and whose reads show writes within a second.
pub async fn settling(time: &str, sample: Sample) -> Bench {
    let sandbox = sandbox().await;
    let (url, lines) = (sandbox.base_url(), AS_IT_IS.to_owned() + "settle_time = \"1s\"");
    reaching(&url, sandbox, time, &lines, sample).await
}

/// A dialect whose gateway reaches the sandbox at this address, with these lines in the backend's
/// section.
pub async fn reaching(
    base_url: &str,
    sandbox: Sandbox,
    time: &str,
    lines: &str,
    sample: Sample,
) -> Bench {
    let gateway = gateway::reaching(base_url, &sandbox, sample.upstream, time, lines).await;
    Bench::of(sample, sandbox, gateway).await
}

impl Bench {
    async fn of(sample: Sample, sandbox: Sandbox, gateway: Gateway) -> Self {
        if sample.has_rate_limit {
            sandbox.set(sample.upstream, &json!({"rate_limit": false})).await;
        }
        Self { sample, sandbox, gateway, names: AtomicUsize::new(1) }
    }

    pub fn parent(&self) -> String {
        format!("backends/{}", self.sample.upstream)
    }

    /// The resource name of an upstream id.
    pub fn name(&self, id: &str) -> String {
        format!("{}/profiles/{id}", self.parent())
    }

    /// The sample's profile under a name that nothing has.
    pub fn full(&self) -> Profile {
        self.fresh((self.sample.full)())
    }

    /// The sample's other profile under a name that nothing has.
    pub fn other(&self) -> Profile {
        self.fresh((self.sample.other)())
    }

    /// This profile under a name that nothing has.
    pub fn fresh(&self, json: Value) -> Profile {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let display_name = format!("Conformance {number}, ≥ \"½\" & <more>");
        Profile { display_name, ..samples::profile(json) }
    }

    /// What `GetBackend` says of the dialect.
    pub async fn capabilities(&self) -> Capabilities {
        let request = GetBackendRequest { name: self.parent() };
        let backend = self.gateway.backends.clone().get_backend(request).await.unwrap();
        backend.into_inner().capabilities.unwrap()
    }

    pub async fn create(&self, profile: Profile) -> Result<Profile, Status> {
        let request = CreateProfileRequest {
            parent: self.parent(),
            profile: Some(profile),
            ..CreateProfileRequest::default()
        };
        self.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
    }

    pub async fn get(&self, name: &str) -> Result<Profile, Status> {
        let request = GetProfileRequest { name: name.to_owned(), read_mask: None };
        self.gateway.profiles.clone().get_profile(fresh(request)).await.map(Response::into_inner)
    }

    pub async fn list(&self) -> Result<Vec<Profile>, Status> {
        let mut request = model::list(&self.parent());
        request.page_size = 1000;
        let answer = self.gateway.profiles.clone().list_profiles(fresh(request)).await?;
        Ok(answer.into_inner().profiles)
    }

    /// Updates the fields of the mask, or all that are populated when it is empty.
    pub async fn update(&self, profile: Profile, mask: &[&str]) -> Result<Profile, Status> {
        let update_mask = (!mask.is_empty()).then(|| model::mask(mask));
        let profile = Some(profile);
        let request =
            UpdateProfileRequest { profile, update_mask, ..UpdateProfileRequest::default() };
        self.gateway.profiles.clone().update_profile(request).await.map(Response::into_inner)
    }

    pub async fn delete(&self, name: &str) -> Result<(), Status> {
        let name = name.to_owned();
        let request = DeleteProfileRequest { name, ..DeleteProfileRequest::default() };
        self.gateway.profiles.clone().delete_profile(request).await.map(Response::into_inner)
    }

    /// Arms a fault for an operation of this dialect's simulator: for so many requests, 0 for all.
    pub async fn arm(&self, operation: &str, fault: &Value, times: u64) {
        self.arm_later(operation, fault, times, 0).await;
    }

    /// The same after so many requests of the operation.
    pub async fn arm_later(&self, operation: &str, fault: &Value, times: u64, skip: usize) {
        let spec = json!({"upstream": self.sample.upstream, "operation": operation,
            "fault": fault, "times": times, "skip": skip});
        self.sandbox.arm_spec(spec).await;
    }

    /// The writes that arrived at this dialect's simulator.
    pub async fn writes(&self) -> Vec<Value> {
        let mut journal = self.sandbox.journal().await;
        journal.retain(|entry| {
            let operation = entry["operation"].as_str().unwrap_or_default();
            entry["upstream"] == self.sample.upstream && self.sample.writes.contains(&operation)
        });
        journal
    }

    /// The raw profiles with this display name, each with its id.
    pub async fn raw_named(&self, display_name: &str) -> Vec<Value> {
        let mut all = self.sandbox.raw(self.sample.upstream).await;
        all.retain(|profile| profile[self.sample.raw_name] == display_name);
        all
    }

    /// That the gateway still answers, and that no call is stuck.
    pub async fn assert_alive(&self) {
        self.sandbox.calm().await;
        self.list().await.unwrap();
        until("no call is under way", async || {
            let metrics = self.gateway.admin("/metrics").await;
            metrics.lines().any(|line| line == "profile_gateway_calls_in_flight 0")
        })
        .await;
    }
}

/// The profile with one field as it is in another.
pub fn with(profile: &Profile, path: &str, from: &Profile) -> Profile {
    let mut fields = Fields::of(profile).unwrap();
    fields.copy(path, &Fields::of(from).unwrap());
    fields.into_profile().unwrap()
}

/// Whether a field is set.
pub fn has(profile: &Profile, path: &str) -> bool {
    Fields::of(profile).unwrap().get(path).is_some()
}

/// A profile with only its name and one field.
pub fn only(name: &str, path: &str, from: &Profile) -> Profile {
    let name = Profile { name: name.to_owned(), ..Profile::default() };
    with(&name, path, from)
}

/// The profile without what the gateway alone sets, so that it can be held against what was asked.
pub fn asked_of(profile: &Profile) -> Profile {
    Profile {
        name: String::new(),
        dialect: 0,
        etag: String::new(),
        endpoint_count: None,
        unmapped: None,
        ..profile.clone()
    }
}

/// The profile without its etag.
pub fn but_etag(profile: &Profile) -> Profile {
    Profile { etag: String::new(), ..profile.clone() }
}

/// The upstream's id of a profile.
pub fn id(profile: &Profile) -> &str {
    profile.name.rsplit('/').next().unwrap()
}

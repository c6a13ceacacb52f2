//! Every method of the proto, by callers with all kinds of rights, in a backend that they may use,
//! in one that they may not, and in one that is not there.

use profile_gateway::pb::{
    AttachServiceRequest, AttachTrafficLimitRequest, BatchGetProfilesRequest,
    CloseDoubtfulWriteRequest, CreateProfileRequest, DESCRIPTOR_SET, DeleteProfileRequest,
    DetachServiceRequest, DetachTrafficLimitRequest, DiffProfilesRequest, DoubtOutcome,
    GetBackendRequest, GetProfileRequest, ListBackendsRequest, ListDoubtfulWritesRequest,
    ListProfilesRequest, ListServicesRequest, PreviewWriteRequest, Profile, PurgeCacheRequest,
    TrafficLimit, TranslateProfileRequest, UpdateProfileRequest, WatchProfilesRequest,
    preview_write_request::Write,
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Request, Status, transport::Channel};

use crate::kit::{
    gateway::{Gateway, gateway},
    model::{profile, service_id},
    raw,
    sandbox::{Sandbox, sandbox},
    status::{Failure, failure},
    tokens::{Issuer, by, caller, good, role},
};

/// Each method with its path.
fn methods() -> Vec<(String, String)> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let ours = set.file.into_iter().filter(|file| file.package() == "profilegateway.v1");
    let mut methods = Vec::new();
    for service in ours.flat_map(|file| file.service) {
        for method in &service.method {
            let path = format!("/profilegateway.v1.{}/{}", service.name(), method.name());
            methods.push((method.name().to_owned(), path));
        }
    }
    methods
}

/// A request of a method about a backend.
fn request(method: &str, backend: &str) -> Vec<u8> {
    let parent = format!("backends/{backend}");
    let name = format!("{parent}/profiles/SP_1");
    let deletion = DeleteProfileRequest { name: name.clone(), ..<_>::default() };
    let renamed = Profile { name: name.clone(), ..profile("renamed") };
    match method {
        "GetProfile" => GetProfileRequest { name, ..<_>::default() }.encode_to_vec(),
        "ListProfiles" => ListProfilesRequest { parent, ..<_>::default() }.encode_to_vec(),
        "CreateProfile" => {
            let profile = Some(profile("new of a matrix"));
            CreateProfileRequest { parent, profile, ..<_>::default() }.encode_to_vec()
        }
        "UpdateProfile" => {
            UpdateProfileRequest { profile: Some(renamed), ..<_>::default() }.encode_to_vec()
        }
        "DeleteProfile" => deletion.encode_to_vec(),
        "BatchGetProfiles" => BatchGetProfilesRequest { parent, names: vec![name] }.encode_to_vec(),
        "PreviewWrite" => {
            PreviewWriteRequest { write: Some(Write::Delete(deletion)) }.encode_to_vec()
        }
        "TranslateProfile" => {
            TranslateProfileRequest { name, target_backend: parent }.encode_to_vec()
        }
        "DiffProfiles" => DiffProfilesRequest { left: name.clone(), right: name }.encode_to_vec(),
        "WatchProfiles" => WatchProfilesRequest { parent, ..<_>::default() }.encode_to_vec(),
        "ListBackends" => ListBackendsRequest {}.encode_to_vec(),
        "GetBackend" => GetBackendRequest { name: parent }.encode_to_vec(),
        "ListServices" => ListServicesRequest { parent }.encode_to_vec(),
        "PurgeCache" => PurgeCacheRequest { name: parent }.encode_to_vec(),
        "ListDoubtfulWrites" => {
            ListDoubtfulWritesRequest { parent, ..<_>::default() }.encode_to_vec()
        }
        "CloseDoubtfulWrite" => {
            let name = format!("{parent}/doubtfulWrites/7");
            let outcome = DoubtOutcome::HadNoEffect.into();
            CloseDoubtfulWriteRequest { name, outcome, note: "x".into(), ..<_>::default() }
                .encode_to_vec()
        }
        _ => edit(method, name),
    }
}

/// A request that attaches or detaches something.
fn edit(method: &str, name: String) -> Vec<u8> {
    let service = Some(service_id("2"));
    let limit = Some(TrafficLimit { id: "1".into(), ..<_>::default() });
    match method {
        "AttachService" => AttachServiceRequest { name, service, ..<_>::default() }.encode_to_vec(),
        "DetachService" => DetachServiceRequest { name, service, ..<_>::default() }.encode_to_vec(),
        "AttachTrafficLimit" => {
            let traffic_limit = limit;
            AttachTrafficLimitRequest { name, service, traffic_limit, ..<_>::default() }
                .encode_to_vec()
        }
        "DetachTrafficLimit" => {
            let traffic_limit = limit;
            DetachTrafficLimitRequest { name, service, traffic_limit, ..<_>::default() }
                .encode_to_vec()
        }
        other => panic!("how to call {other}?"),
    }
}

/// The rights that each method needs: a table of its own, against which the program's is held.
fn needed(method: &str) -> &'static str {
    match method {
        "GetProfile" | "ListProfiles" | "BatchGetProfiles" | "DiffProfiles" | "WatchProfiles"
        | "ListBackends" | "GetBackend" | "ListServices" => "read",
        "PreviewWrite" => "preview",
        // It reads the source too.
        "TranslateProfile" => "read preview",
        "CreateProfile" | "UpdateProfile" | "AttachService" | "DetachService"
        | "AttachTrafficLimit" | "DetachTrafficLimit" => "write",
        "DeleteProfile" => "delete",
        "PurgeCache" | "ListDoubtfulWrites" | "CloseDoubtfulWrite" => "admin",
        other => panic!("what does {other} need?"),
    }
}

const CALLERS: [(&str, &str); 5] = [
    ("reader", "read"),
    ("planner", "read preview"),
    ("writer", "read preview write"),
    ("deleter", "delete"),
    ("operator", "read fresh preview write delete admin"),
];

struct Bench {
    gateway: Gateway,
    sandbox: Sandbox,
    _issuer: Issuer,
}

/// Backends `mine` and `theirs`, and callers with rights in the first.
async fn bench() -> Bench {
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let mut rules = String::new();
    for (name, rights) in CALLERS {
        rules += &role(name, &rights.replace(' ', ", "), "mine");
        rules += &caller(name, name);
    }
    rules += &role("all", "read, fresh, preview, write, delete, admin", "*");
    rules += &caller("root", "all");
    let mut builder = gateway().section(&issuer.config("", &rules));
    for name in ["mine", "theirs"] {
        builder = builder.backend(name, &sandbox.base_url(), &sandbox.credentials());
    }
    Bench { gateway: builder.start().await, sandbox, _issuer: issuer }
}

impl Bench {
    fn channel(&self) -> Channel {
        let endpoint = format!("http://{}", self.gateway.address);
        tonic::transport::Endpoint::new(endpoint).unwrap().connect_lazy()
    }

    async fn ask(
        &self,
        channel: &Channel,
        (method, path): &(String, String),
        caller: Option<&str>,
        backend: &str,
    ) -> Result<Vec<u8>, Status> {
        let message = request(method, backend);
        let request = match caller {
            Some(caller) => by(&good(caller), message),
            None => Request::new(message),
        };
        raw::call(channel.clone(), path, request).await
    }

    /// What was done for callers so far: requests upstream, and looks at the cache.
    async fn done(&self) -> (usize, f64) {
        let reads = self.gateway.metric("cache_reads_total", "").await;
        (self.sandbox.journal().await.len(), reads)
    }
}

fn is_allowed<T>(result: &Result<T, Status>) -> bool {
    let refusals = [Code::Unauthenticated, Code::PermissionDenied];
    result.as_ref().err().is_none_or(|status| !refusals.contains(&status.code()))
}

/// What a refusal says, with the name of the backend taken out.
fn said(result: Result<Vec<u8>, Status>, backend: &str) -> String {
    let Failure { code, reason, message, metadata, fields, resource, .. } = failure(result);
    let mut metadata: Vec<_> = metadata.into_iter().collect();
    metadata.sort();
    format!("{code:?} {reason} {message} {metadata:?} {fields:?} {resource:?}")
        .replace(backend, "NAME")
}

#[tokio::test]
async fn a_caller_may_do_what_its_rights_allow_and_nothing_else_is_done_or_told() {
    let bench = bench().await;
    let channel = bench.channel();
    let methods = methods();
    assert_eq!(methods.len(), 20, "a new method needs its rows above");
    let (mut allowed, mut refused) = (0, 0);
    for method in &methods {
        let name = method.0.as_str();
        let before = bench.done().await;
        let anonymous = failure(bench.ask(&channel, method, None, "mine").await);
        assert!(anonymous.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"), "{name}");
        assert_eq!(anonymous.meta("why"), "missing", "{name}");
        for backend in ["mine", "theirs", "absent"] {
            let unknown = failure(bench.ask(&channel, method, Some("stranger"), backend).await);
            assert!(unknown.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{name}");
        }
        for (caller, rights) in CALLERS {
            let has = |right: &str| rights.split(' ').any(|own| own == right);
            let may = needed(name).split(' ').all(has);
            if name != "ListBackends" {
                let [theirs, absent] = ["theirs", "absent"];
                let theirs = said(bench.ask(&channel, method, Some(caller), theirs).await, theirs);
                let absent = said(bench.ask(&channel, method, Some(caller), absent).await, absent);
                assert_eq!(theirs, absent, "{caller} {name}: it tells which backends there are");
                let denied = theirs.starts_with("PermissionDenied CALLER_NOT_ALLOWED");
                assert!(denied, "{caller} {name}: {theirs}");
                refused += 2;
            }
            if !may {
                let own = failure(bench.ask(&channel, method, Some(caller), "mine").await);
                let denied = own.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED");
                assert!(denied, "{caller} {name}: {own:#?}");
                assert!(needed(name).contains(own.meta("right")), "{caller} {name}: {own:#?}");
                refused += 1;
            }
        }
        assert_eq!(bench.done().await, before, "{name}: something was done for a refused call");
        for (caller, rights) in CALLERS {
            let has = |right: &str| rights.split(' ').any(|own| own == right);
            if needed(name).split(' ').all(has) {
                let answer = bench.ask(&channel, method, Some(caller), "mine").await;
                assert!(is_allowed(&answer), "{caller} {name}: {answer:?}");
                allowed += 1;
            }
        }
    }
    assert!(allowed > 40 && refused > 200, "{allowed} {refused}");
}

#[tokio::test]
async fn who_may_see_all_backends_is_told_that_there_is_none_of_a_name() {
    let bench = bench().await;
    let channel = bench.channel();
    for method in methods().iter().filter(|(name, _)| name != "ListBackends") {
        let answer = bench.ask(&channel, method, Some("root"), "absent").await;
        let failed = failure(answer);
        assert!(failed.reason != "CALLER_NOT_ALLOWED", "{}: {failed:#?}", method.0);
        assert_eq!(failed.code, Code::NotFound, "{}: {failed:#?}", method.0);
    }
}

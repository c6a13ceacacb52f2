//! `grpc.reflection` of the real program, both versions.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic_reflection::pb::{v1, v1alpha};

use tonic::Code;

use super::{
    calls::channel,
    child::{Gateway, gateway},
    examples::{run, tool},
};

const SERVICES: [&str; 5] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "profilegateway.v1.BackendService",
    "profilegateway.v1.ProfileService",
];
const PROFILE: &str = "profilegateway.v1.Profile";
/// The names under which other programs know these files.
const FILES: [&str; 5] = [
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
    "google/rpc/error_details.proto",
    "google/protobuf/field_mask.proto",
];
const SYMBOLS: [&str; 14] = [
    "profilegateway.v1.ProfileService",
    "profilegateway.v1.ProfileService.GetProfile",
    "profilegateway.v1.Profile",
    "profilegateway.v1.Profile.display_name",
    "profilegateway.v1.ErrorReason",
    "profilegateway.v1.STATE_ACTIVE",
    ".profilegateway.v1.State",
    ".profilegateway.v1.RADIO_ACCESS_NB_IOT",
    "grpc.health.v1.HealthCheckResponse.ServingStatus",
    "grpc.health.v1.HealthCheckResponse.NOT_SERVING",
    "google.rpc.ErrorInfo",
    "google.rpc.BadRequest",
    "google.rpc.RetryInfo",
    "grpc.health.v1.Health.List",
];

// The two versions differ in their package and in nothing else, but are types of their own.
macro_rules! ask {
    ($version:ident, $gateway:expr) => {{
        use $version::{
            ExtensionRequest, ServerReflectionRequest,
            server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = |message| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        };
        let mut requests = vec![ask(MessageRequest::ListServices(String::new()))];
        // None of these ends the stream.
        let unknown = ExtensionRequest { containing_type: PROFILE.into(), extension_number: 1 };
        requests.extend([
            ask(MessageRequest::FileContainingSymbol("no.such.Thing".to_owned())),
            ask(MessageRequest::FileByFilename("no/such.proto".to_owned())),
            ask(MessageRequest::FileContainingExtension(unknown)),
            ask(MessageRequest::AllExtensionNumbersOfType("no.such.Thing".to_owned())),
            ServerReflectionRequest::default(),
            ask(MessageRequest::AllExtensionNumbersOfType(PROFILE.to_owned())),
        ]);
        for symbol in SYMBOLS {
            requests.push(ask(MessageRequest::FileContainingSymbol(symbol.to_owned())));
        }
        for file in FILES {
            requests.push(ask(MessageRequest::FileByFilename(file.to_owned())));
        }
        let asked = requests.len();
        let requests = futures_util::stream::iter(requests);
        let mut client = ServerReflectionClient::new(channel($gateway.grpc).await);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        let mut files = Vec::new();
        let (mut services, mut errors, mut answered) = (Vec::new(), Vec::new(), 0);
        while let Some(answer) = answers.message().await.unwrap() {
            answered += 1;
            match answer.message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => {
                    services.extend(list.service.into_iter().map(|service| service.name));
                }
                MessageResponse::FileDescriptorResponse(file) => {
                    files.push(file.file_descriptor_proto);
                }
                MessageResponse::ErrorResponse(error) => {
                    errors.push((error.error_code, error.error_message));
                }
                MessageResponse::AllExtensionNumbersResponse(numbers) => {
                    assert_eq!(numbers.base_type_name, PROFILE);
                    assert_eq!(numbers.extension_number, [0; 0]);
                }
            }
        }
        assert_eq!(answered, asked);
        let (missing, invalid) = (i32::from(Code::NotFound), i32::from(Code::InvalidArgument));
        let codes: Vec<i32> = errors.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [missing, missing, missing, missing, invalid], "{errors:?}");
        services.sort();
        (services, files)
    }};
}

fn check((services, files): (Vec<String>, Vec<Vec<Vec<u8>>>)) -> Vec<Vec<u8>> {
    assert_eq!(services, SERVICES);
    assert_eq!(files.len(), SYMBOLS.len() + FILES.len(), "one answer for each question");
    let decoded = |bytes: &Vec<u8>| FileDescriptorProto::decode(bytes.as_slice()).unwrap();
    for (symbol, files) in SYMBOLS.iter().zip(&files) {
        assert!(declares(&decoded(&files[0]), symbol), "{symbol} is not in the answer");
    }
    for (name, files) in FILES.iter().zip(&files[SYMBOLS.len()..]) {
        assert_eq!(decoded(&files[0]).name(), *name);
    }
    // With those before it, each answer has all that its files need.
    let mut known = BTreeSet::new();
    for files in &files {
        let files: Vec<_> = files.iter().map(decoded).collect();
        known.extend(files.iter().map(|file| file.name().to_owned()));
        for needed in files.iter().flat_map(|file| &file.dependency) {
            assert!(known.contains(needed), "{} comes without {needed}", files[0].name());
        }
    }
    files.concat()
}

fn declares(file: &FileDescriptorProto, symbol: &str) -> bool {
    let symbol = symbol.strip_prefix('.').unwrap_or(symbol);
    let Some(name) = symbol.strip_prefix(file.package()) else { return false };
    let Some(name) = name.strip_prefix('.').and_then(|name| name.split('.').next()) else {
        return false;
    };
    file.message_type.iter().any(|message| message.name() == name)
        || file.enum_type.iter().any(|an_enum| an_enum.name() == name)
        || file.enum_type.iter().flat_map(|an_enum| &an_enum.value).any(|one| one.name() == name)
        || file.service.iter().any(|service| service.name() == name)
}

async fn started() -> Gateway {
    gateway(&[], &[]).await
}

#[tokio::test]
async fn version_1_lists_and_describes_everything() {
    let gateway = started().await;
    drop(check(ask!(v1, gateway)));
}

#[tokio::test]
async fn version_1_alpha_lists_and_describes_everything() {
    let gateway = started().await;
    drop(check(ask!(v1alpha, gateway)));
}

/// Adds what reflection serves to a pool that has some of it already, as tools do that know the
/// well-known types and google.rpc.
const POOL: &str = r#"
import sys
from google.protobuf import descriptor_pb2, descriptor_pool, field_mask_pb2, message_factory
from google.rpc import error_details_pb2, status_pb2

pool = descriptor_pool.DescriptorPool()
known = set()

def add(file):
    for dependency in file.dependencies:
        add(dependency)
    if file.name not in known:
        known.add(file.name)
        pool.AddSerializedFile(file.serialized_pb)

for own in (error_details_pb2, status_pb2, field_mask_pb2):
    add(own.DESCRIPTOR)
served = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read()).file
served = {file.name: file for file in served}

def add_served(name):
    if name in known:
        return
    known.add(name)
    for dependency in served[name].dependency:
        add_served(dependency)
    pool.AddSerializedFile(served[name].SerializeToString())

for name in sorted(served):
    add_served(name)
descriptor = pool.FindMessageTypeByName("profilegateway.v1.Profile")
profile = message_factory.GetMessageClass(descriptor)(display_name="a")
assert profile.SerializeToString(), profile
for method in ("profilegateway.v1.ProfileService.WatchProfiles", "grpc.health.v1.Health.List"):
    pool.FindMethodByName(method)
for symbol in ("grpc.reflection.v1.ServerReflection", "profilegateway.v1.Profile.display_name"):
    pool.FindFileContainingSymbol(symbol)
print("all", len(served), "files fit together")
"#;

#[tokio::test]
async fn a_pool_in_python_takes_what_is_served() {
    tool("python.installed");
    let gateway = started().await;
    let files = check(ask!(v1, gateway));
    let file = |bytes: &Vec<u8>| FileDescriptorProto::decode(bytes.as_slice()).unwrap();
    let set = FileDescriptorSet { file: files.iter().map(file).collect() };
    let stored = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(stored.path(), set.encode_to_vec()).unwrap();
    let arguments = ["-c".as_ref(), POOL.as_ref(), stored.path().as_ref()];
    let ended = run(tool("python/bin/python"), &arguments).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("files fit together"), "{}", ended.stdout);
}

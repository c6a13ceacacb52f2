//! `grpc.reflection` of the real program, both versions.

use prost::Message;
use prost_types::FileDescriptorProto;
use tonic_reflection::pb::{v1, v1alpha};

use super::{
    calls::channel,
    child::{Gateway, gateway},
};

const SERVICES: [&str; 5] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "profilegateway.v1.BackendService",
    "profilegateway.v1.ProfileService",
];
const SYMBOLS: [&str; 8] = [
    "profilegateway.v1.ProfileService",
    "profilegateway.v1.ProfileService.GetProfile",
    "profilegateway.v1.Profile",
    "profilegateway.v1.ErrorReason",
    "google.rpc.ErrorInfo",
    "google.rpc.BadRequest",
    "google.rpc.RetryInfo",
    "grpc.health.v1.Health.List",
];

// The two versions differ in their package and in nothing else, but are types of their own.
macro_rules! ask {
    ($version:ident, $gateway:expr) => {{
        use $version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = |message| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        };
        let mut requests = vec![ask(MessageRequest::ListServices(String::new()))];
        for symbol in SYMBOLS.iter().chain(&["no.such.Thing"]) {
            requests.push(ask(MessageRequest::FileContainingSymbol((*symbol).to_owned())));
        }
        let requests = futures_util::stream::iter(requests);
        let mut client = ServerReflectionClient::new(channel($gateway.grpc).await);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        let mut files = Vec::new();
        let mut services = Vec::new();
        while let Ok(Some(answer)) = answers.message().await {
            match answer.message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => {
                    services.extend(list.service.into_iter().map(|service| service.name));
                }
                MessageResponse::FileDescriptorResponse(file) => {
                    files.push(file.file_descriptor_proto);
                }
                // What cannot be found is an answer or the end of the stream.
                MessageResponse::ErrorResponse(_) => {}
                other => panic!("{other:?}"),
            }
        }
        services.sort();
        (services, files)
    }};
}

fn check((services, files): (Vec<String>, Vec<Vec<impl AsRef<[u8]>>>)) {
    assert_eq!(services, SERVICES);
    assert_eq!(files.len(), SYMBOLS.len(), "one answer for each known symbol");
    for (symbol, files) in SYMBOLS.iter().zip(files) {
        let declared = files.iter().any(|bytes| {
            let file = FileDescriptorProto::decode(bytes.as_ref()).unwrap();
            declares(&file, symbol)
        });
        assert!(declared, "{symbol} is not in the answer");
    }
}

fn declares(file: &FileDescriptorProto, symbol: &str) -> bool {
    let Some(name) = symbol.strip_prefix(file.package()) else { return false };
    let Some(name) = name.strip_prefix('.').and_then(|name| name.split('.').next()) else {
        return false;
    };
    file.message_type.iter().any(|message| message.name() == name)
        || file.enum_type.iter().any(|an_enum| an_enum.name() == name)
        || file.service.iter().any(|service| service.name() == name)
}

async fn started() -> Gateway {
    gateway(&[], &[]).await
}

#[tokio::test]
async fn version_1_lists_and_describes_everything() {
    let gateway = started().await;
    check(ask!(v1, gateway));
}

#[tokio::test]
async fn version_1_alpha_lists_and_describes_everything() {
    let gateway = started().await;
    check(ask!(v1alpha, gateway));
}

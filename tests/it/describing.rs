//! What the gateway says of its backends: services, capabilities, and methods that a dialect lacks.

use std::collections::HashMap;

use profile_gateway::pb::{
    AttachTrafficLimitRequest, CircuitState, Dialect, FieldCapability, FieldSupport,
    GetBackendRequest, ListBackendsRequest, ListServicesRequest, Reachability, ServiceType,
};
use tonic::Code;

use crate::kit::{
    double::double,
    gateway::{self, gateway},
    model::{self, service_id},
    status::fails,
};

#[tokio::test]
async fn services_are_those_of_the_vendors_page() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let mut client = gateway.backends.clone();
    let request = ListServicesRequest { parent: model::BACKEND.to_owned() };
    let services = client.list_services(request).await.unwrap().into_inner().services;
    let found: Vec<_> =
        services.iter().map(|s| (s.id.as_str(), s.r#type(), s.name.as_str())).collect();
    let expected = [
        ("2", ServiceType::SmsMo, "backends/sft/services/2"),
        ("3", ServiceType::SmsMt, "backends/sft/services/3"),
        ("4", ServiceType::Data, "backends/sft/services/4"),
    ];
    assert_eq!(found, expected);
    let nowhere = ListServicesRequest { parent: "backends/nope".to_owned() };
    fails(client.list_services(nowhere).await, Code::NotFound, "BACKEND_NOT_FOUND");
    let malformed = ListServicesRequest { parent: "nope".to_owned() };
    fails(client.list_services(malformed).await, Code::InvalidArgument, "VALIDATION_FAILED");
}

#[tokio::test]
async fn backends_say_what_they_are() {
    let upstream = double().await;
    let gateway = gateway()
        .fixed("sft", &upstream.base_url, "display_name = \"The first\"")
        .fixed("another", &upstream.base_url, "")
        .start()
        .await;
    let mut client = gateway.backends.clone();
    let all = client.list_backends(ListBackendsRequest {}).await.unwrap().into_inner().backends;
    let names: Vec<_> = all.iter().map(|b| (b.name.as_str(), b.display_name.as_str())).collect();
    assert_eq!(names, [("backends/another", "another"), ("backends/sft", "The first")]);

    let request = GetBackendRequest { name: model::BACKEND.to_owned() };
    let one = client.get_backend(request).await.unwrap().into_inner();
    assert_eq!(one, all[1]);
    assert_eq!(one.dialect(), Dialect::BicsSft);
    let status = one.status.unwrap();
    assert_eq!(status.reachability(), Reachability::Unspecified, "not tried yet");
    assert_eq!(status.circuit_state(), CircuitState::Closed);
    assert_eq!(status.last_error, None);
    let nowhere = GetBackendRequest { name: "backends/nope".to_owned() };
    let nowhere = fails(client.get_backend(nowhere).await, Code::NotFound, "BACKEND_NOT_FOUND");
    assert_eq!(nowhere.resource.as_deref(), Some("backends/nope"));
    assert_eq!(upstream.seen().len(), 0, "describing asks no upstream");
}

#[tokio::test]
async fn capabilities_name_every_method_and_field() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let request = GetBackendRequest { name: model::BACKEND.to_owned() };
    let backend = gateway.backends.clone().get_backend(request).await.unwrap().into_inner();
    let capabilities = backend.capabilities.unwrap();
    let methods: HashMap<&str, bool> =
        capabilities.methods.iter().map(|m| (m.method.as_str(), m.supported)).collect();
    for (method, supported) in [
        ("GetProfile", true),
        ("ListProfiles", true),
        ("CreateProfile", true),
        ("UpdateProfile", true),
        ("DeleteProfile", true),
        ("AttachService", true),
        ("DetachService", true),
        ("ListServices", true),
        ("AttachTrafficLimit", false),
        ("DetachTrafficLimit", false),
    ] {
        assert_eq!(methods.get(method), Some(&supported), "{method}");
    }
    let fields: HashMap<&str, &FieldCapability> =
        capabilities.fields.iter().map(|field| (field.field.as_str(), field)).collect();
    for (field, support, required) in [
        ("display_name", FieldSupport::ReadWrite, true),
        ("state", FieldSupport::ReadWrite, true),
        ("category", FieldSupport::CreateOnly, true),
        ("radio_access", FieldSupport::ReadWrite, false),
        ("services", FieldSupport::ReadWrite, false),
        ("name", FieldSupport::ReadOnly, false),
        ("etag", FieldSupport::ReadOnly, false),
        ("description", FieldSupport::NotSupported, false),
        ("endpoint_count", FieldSupport::NotSupported, false),
    ] {
        let found = fields[field];
        assert_eq!((found.support(), found.required_on_create), (support, required), "{field}");
    }
    let combinations = &fields["radio_access"].allowed_values;
    for combination in ["RADIO_ACCESS_2G", "RADIO_ACCESS_2G+RADIO_ACCESS_3G"] {
        assert!(combinations.iter().any(|value| value == combination), "{combinations:?}");
    }
    assert!(!capabilities.etag_guarantee.is_empty());
    assert!(!capabilities.request_id_guarantee.is_empty());
}

#[tokio::test]
async fn methods_that_the_dialect_lacks_are_unimplemented() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let request = AttachTrafficLimitRequest {
        name: model::name("SP_1"),
        service: Some(service_id("4")),
        ..AttachTrafficLimitRequest::default()
    };
    let lacking = gateway.profiles.clone().attach_traffic_limit(request).await;
    let lacking = fails(lacking, Code::Unimplemented, "OPERATION_NOT_SUPPORTED");
    assert_eq!((lacking.meta("backend"), lacking.meta("dialect")), ("sft", "bics-sft"));
    assert_eq!(upstream.seen().len(), 0);
}

//! AttachService and DetachService.

use profile_gateway::pb::{AttachServiceRequest, DetachServiceRequest, Profile, Service};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::kit::{
    bodies,
    gateway::{self, Gateway},
    model::{self, DATA, NB_IOT, R2G, R3G, R4G, R5G, SMS_MO, SMS_MT, service, service_id, shape},
    sandbox::{Sandbox, sandbox},
    status::{fails, failure},
};

async fn start() -> (Sandbox, Gateway) {
    let sandbox = sandbox().await;
    let gateway = gateway::on(&sandbox).await;
    (sandbox, gateway)
}

async fn attach(gateway: &Gateway, id: &str, service: Service) -> Result<Profile, Status> {
    let (name, service) = (model::name(id), Some(service));
    let request = AttachServiceRequest { name, service, ..Default::default() };
    gateway.profiles.clone().attach_service(request).await.map(Response::into_inner)
}

async fn detach(gateway: &Gateway, id: &str, service: Service) -> Result<Profile, Status> {
    let (name, service) = (model::name(id), Some(service));
    let request = DetachServiceRequest { name, service, ..Default::default() };
    gateway.profiles.clone().detach_service(request).await.map(Response::into_inner)
}

/// The bodies of all modifies so far.
async fn modifies(sandbox: &Sandbox) -> Vec<Value> {
    let journal = sandbox.journal().await;
    let modifies = journal.iter().filter(|e| e["operation"] == "ModifyServiceProfile");
    modifies.map(|e| e["body"].clone()).collect()
}

#[tokio::test]
async fn services_are_attached_and_detached_by_id_or_type() {
    let (sandbox, gateway) = start().await;
    // SP_402 has DATA on 2G and 3G.
    let more = attach(&gateway, "SP_402", service(SMS_MT)).await.unwrap();
    assert_eq!(shape(&more), (vec!["3", "4"], vec![R2G, R3G]));
    assert_eq!(more, gateway.get("SP_402").await.unwrap());
    let more = attach(&gateway, "SP_402", service_id("2")).await.unwrap();
    assert_eq!(shape(&more).0, ["2", "3", "4"]);
    let both = Service { id: "4".into(), ..service(DATA) };
    let less = detach(&gateway, "SP_402", both).await.unwrap();
    assert_eq!(shape(&less), (vec!["2", "3"], vec![R2G, R3G]));
    let sent = |service: &str| bodies::request(json!({"id": "SP_402", "service": service}));
    let expected = [sent("4|3"), sent("4|2|3"), sent("2|3")];
    assert_eq!(modifies(&sandbox).await, expected);
}

#[tokio::test]
async fn attaching_twice_and_detaching_what_is_missing_are_refused() {
    let (sandbox, gateway) = start().await;
    let there = attach(&gateway, "SP_402", service(DATA)).await;
    let there = fails(there, Code::AlreadyExists, "SERVICE_ALREADY_ATTACHED");
    assert_eq!(there.resource.as_deref(), Some("backends/sft/profiles/SP_402"));
    let absent = detach(&gateway, "SP_402", service(SMS_MO)).await;
    let absent = fails(absent, Code::NotFound, "SERVICE_NOT_ATTACHED");
    assert_eq!(absent.meta("operation"), "DetachService");
    let nowhere = attach(&gateway, "SP_99999", service(DATA)).await;
    fails(nowhere, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(modifies(&sandbox).await, [] as [Value; 0]);
}

#[tokio::test]
async fn an_unknown_service_is_refused() {
    let (sandbox, gateway) = start().await;
    let kind = |r#type: i32| Service { r#type, ..Service::default() };
    for (what, service) in [
        ("NB-IoT, which is a radio access", service_id("5")),
        ("an unknown id", service_id("9")),
        ("an id of nonsense", service_id("4|2")),
        ("a type of another dialect", kind(5)),
        ("an undefined type", kind(99)),
        ("neither id nor type", Service::default()),
        ("two that differ", Service { id: "4".into(), ..service(SMS_MO) }),
    ] {
        for result in [
            attach(&gateway, "SP_402", service.clone()).await,
            detach(&gateway, "SP_402", service).await,
        ] {
            let failed = failure(result);
            assert!(failed.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{what}: {failed:#?}");
            assert_eq!(failed.fields, ["service"], "{what}");
        }
    }
    let request = AttachServiceRequest { name: model::name("SP_402"), ..Default::default() };
    let none = failure(gateway.profiles.clone().attach_service(request).await);
    assert_eq!(none.fields, ["service"]);
    let nb_iot = failure(attach(&gateway, "SP_402", service_id("5")).await);
    assert!(nb_iot.message.contains("RADIO_ACCESS_NB_IOT"), "{}", nb_iot.message);
    assert_eq!(modifies(&sandbox).await, [] as [Value; 0]);
}

#[tokio::test]
async fn addons_keep_their_services() {
    let (sandbox, gateway) = start().await;
    let refused = detach(&gateway, "SP_353", service(SMS_MT)).await;
    let refused = fails(refused, Code::FailedPrecondition, "ADDON_SERVICES_IMMUTABLE");
    assert_eq!(refused.meta("upstream_code"), "10100");
    assert_eq!(refused.preconditions, ["ADDON_SERVICES_IMMUTABLE"]);
    assert_eq!(sandbox.effects().await, [] as [Value; 0]);
}

#[tokio::test]
async fn the_last_service_cannot_be_detached_alone() {
    let (sandbox, gateway) = start().await;
    let last = failure(detach(&gateway, "SP_402", service(DATA)).await);
    assert!(last.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{last:#?}");
    // A service needs a radio access, which an NB-IoT profile does not have.
    let first = failure(attach(&gateway, "SP_361", service(DATA)).await);
    assert!(first.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{first:#?}");
    assert_eq!(sandbox.effects().await, [] as [Value; 0]);

    // With NB-IoT beside it, the last one goes and takes the radio access with it.
    sandbox
        .put(
            "SP_700",
            json!({"name": "both", "services": ["DATA", "NB-IOT"], "rat": "2G/3G/4G/5G"}),
        )
        .await;
    assert_eq!(shape(&gateway.get("SP_700").await.unwrap()).1, [R2G, R3G, R4G, R5G, NB_IOT]);
    let left = detach(&gateway, "SP_700", service(DATA)).await.unwrap();
    assert_eq!(shape(&left), (vec![], vec![NB_IOT]));
}

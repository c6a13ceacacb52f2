//! Streams of changes while their backend changes.

use tonic::Code;

use crate::{
    kit::{
        gateway::{Builder, gateway},
        reloading::{Files, reloading},
        sandbox::{Sandbox, sandbox},
        status::fails,
    },
    watching::stream::{NEVER, open, watch},
};

fn config(sandbox: &Sandbox, lines: &str) -> Builder {
    let lines = format!("{}watch_interval = \"{NEVER}\"\n{lines}", sandbox.credentials());
    gateway().backend("sft", &sandbox.base_url(), &lines)
}

#[tokio::test]
async fn a_stream_goes_on_over_a_backend_of_the_same_account() {
    let sandbox = sandbox().await;
    let reloading = reloading(Files::new(), config(&sandbox, "")).await;
    let gateway = &reloading.gateway;
    let mut stream = watch(gateway, "backends/sft").await;
    reloading.change(config(&sandbox, "request_timeout = \"9s\"\n")).await;
    assert_eq!(reloading.outcome().await.0, "applied");
    let created = gateway.create(crate::kit::model::profile("After")).await.unwrap();
    let told = stream.next().await.unwrap();
    assert!(told.iter().any(|(_, name, _)| *name == created.name), "{told:?}");
    let mut later = open(gateway, "backends/sft", &stream.token).await.unwrap();
    later.profiles.clone_from(&stream.profiles);
    gateway.delete(created.name.rsplit('/').next().unwrap()).await.unwrap();
    let told = later.next().await.unwrap();
    assert!(told.iter().any(|(_, name, _)| *name == created.name), "{told:?}");
}

#[tokio::test]
async fn a_stream_ends_when_its_backend_is_another_or_gone() {
    let (one, two) = (sandbox().await, sandbox().await);
    let reloading = reloading(Files::new(), config(&one, "")).await;
    let gateway = &reloading.gateway;
    let mut stream = watch(gateway, "backends/sft").await;
    let mut all = watch(gateway, "backends/-").await;
    let token = stream.token.clone();
    reloading.change(config(&two, "")).await;
    for stream in [&mut stream, &mut all] {
        let ended = fails(stream.next().await, Code::Unavailable, "OVERLOADED");
        assert!(ended.message.contains("open the stream again"), "{ended:#?}");
    }
    let refused = open(gateway, "backends/sft", &token).await.map(drop);
    assert_eq!(crate::kit::status::failure(refused).reason, "RESUME_TOKEN_EXPIRED");
    let mut next = watch(gateway, "backends/sft").await;
    let other = config(&two, "").text().replace("[backends.sft]", "[backends.other]");
    reloading.change_to(&other).await;
    fails(next.next().await, Code::Unavailable, "OVERLOADED");
    let opened = open(gateway, "backends/sft", "").await.map(drop);
    fails(opened, Code::NotFound, "BACKEND_NOT_FOUND");
}

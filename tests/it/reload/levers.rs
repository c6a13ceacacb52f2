//! Levers over a backend that changes, goes, and comes again.

use reqwest::Method;
use tonic::{Code, Status};

use profile_gateway::pb::LeverKind;

use crate::{
    kit::{
        gateway::{Builder, Gateway},
        model::rename,
        reloading::{Files, reloading},
        sandbox::{Sandbox, sandbox},
        status::fails,
    },
    levers::{JANES, admin, end, in_force, operated, set, shown},
};

/// Both backends, of which one has these lines.
fn both(sandbox: &Sandbox, lines: &str) -> Builder {
    let credentials = sandbox.credentials();
    alone(sandbox).backend("sft", &sandbox.base_url(), &format!("{credentials}{lines}"))
}

/// Without that one.
fn alone(sandbox: &Sandbox) -> Builder {
    operated().backend("other", &sandbox.base_url(), &sandbox.credentials())
}

async fn write(gateway: &Gateway) -> Result<(), Status> {
    gateway.profiles.clone().update_profile(rename("SP_361", "Renamed")).await.map(drop)
}

#[tokio::test]
async fn a_backend_is_read_only_by_its_name_whatever_else_changes() {
    let sandbox = sandbox().await;
    let reloading = reloading(Files::new(), both(&sandbox, "")).await;
    let gateway = &reloading.gateway;
    let read_only = [("read_only".to_owned(), "sft".to_owned())];
    set(gateway, "/backends/sft/read-only?for=1h").await;
    fails(write(gateway).await, Code::FailedPrecondition, "WRITES_DISABLED");
    reloading.change(both(&sandbox, "request_timeout = \"9s\"\n")).await;
    fails(write(gateway).await, Code::FailedPrecondition, "WRITES_DISABLED");

    reloading.change(alone(&sandbox)).await;
    fails(write(gateway).await, Code::NotFound, "BACKEND_NOT_FOUND");
    assert_eq!(in_force(gateway).await, read_only);
    reloading.change(both(&sandbox, "")).await;
    fails(write(gateway).await, Code::FailedPrecondition, "WRITES_DISABLED");
    assert_eq!(shown(gateway, "sft").await, [LeverKind::ReadOnly]);

    reloading.change(alone(&sandbox)).await;
    let path = "/backends/sft/read-only";
    let (status, why) = admin(gateway, Method::POST, path, JANES).await;
    assert_eq!(status, 404, "there is nothing that it could be set for: {why}");
    end(gateway, path).await;
    assert_eq!(in_force(gateway).await, []);
    assert_eq!(admin(gateway, Method::DELETE, path, JANES).await.0, 404);
    reloading.change(both(&sandbox, "")).await;
    write(gateway).await.unwrap();
}

#[tokio::test]
async fn a_circuit_stays_forced_open_when_another_backend_takes_the_place() {
    let sandbox = sandbox().await;
    let reloading = reloading(Files::new(), both(&sandbox, "")).await;
    let gateway = &reloading.gateway;
    set(gateway, "/backends/sft/circuit/open?for=1h").await;
    for lines in ["request_timeout = \"9s\"\n", ""] {
        reloading.change(both(&sandbox, lines)).await;
        let refused = fails(gateway.get("SP_361").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert_eq!(refused.meta("circuit"), "open");
        assert!(!gateway.serving("backends/sft").await);
    }
    reloading.change(alone(&sandbox)).await;
    reloading.change(both(&sandbox, "")).await;
    assert!(!gateway.serving("backends/sft").await);
    assert_eq!(sandbox.journal().await.len(), 0);
    end(gateway, "/backends/sft/circuit/open").await;
    gateway.get("SP_361").await.unwrap();
    assert!(gateway.serving("backends/sft").await);
}

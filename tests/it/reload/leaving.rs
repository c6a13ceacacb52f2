//! Clients that were asked to leave and do not: what they have proved counts no longer than for
//! others, and their connections end.

use std::cell::RefCell;

use profile_gateway::pb::{GetBackendRequest, backend_service_client::BackendServiceClient};
use tonic::{Code, Status};

use super::secured::{APP, Secured};
use crate::kit::{
    certificates::{Issued, Leaf},
    deaf::Deaf,
    gateway::gateway,
    status::failure,
    tokens::{Issuer, by, role},
    until,
};

const CLIENTS: &str = "client_ca = \"@/ca\"\nclient_auth = \"required\"\nclient_crl = \"@/crl\"";

/// Why a client is asked to leave.
const REASONS: [(&str, &str); 3] = [
    ("idle", "max_connection_idle = \"200ms\"\nmax_connection_age = \"off\""),
    ("age", "max_connection_age = \"1s\""),
    ("unproved", "max_connection_age = \"off\""),
];

/// A gateway with these lines in its section of the server, where callers have to prove who they
/// are, and an issuer of tokens.
async fn started(lines: &str) -> (Secured, Issuer) {
    let issuer = Issuer::new();
    let app = format!("[auth.callers.app]\nroles = \"all\"\nspiffe = \"{APP}\"\n");
    let rules = issuer.config("", &(role("all", "read", "*") + &app));
    let backends = gateway().fixed("sft", "http://127.0.0.1:9", "").sections();
    (Secured::serving(lines, &(backends + &rules), CLIENTS).await, issuer)
}

async fn connect(secured: &Secured, own: &Issued) -> Deaf {
    let tls = secured.authority.client(Some(own)).grpc();
    Deaf::connect(tls, secured.reloading.gateway.address).await
}

fn asked() -> GetBackendRequest {
    GetBackendRequest { name: "backends/sft".to_owned() }
}

/// Calls with what the connection proves.
async fn call(deaf: &Deaf) -> Result<(), Status> {
    BackendServiceClient::new(deaf.channel.clone()).get_backend(asked()).await.map(drop)
}

/// A client that was asked to leave for this reason, and stays.
async fn told(secured: &Secured, own: &Issued, reason: &str) -> Deaf {
    let deaf = connect(secured, own).await;
    call(&deaf).await.unwrap();
    if reason == "unproved" {
        let mut client = BackendServiceClient::new(deaf.channel.clone());
        for _ in 0..100 {
            let refused = failure(client.get_backend(by("forged-of-the-kit", asked())).await);
            assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED");
        }
    }
    until("it is asked to leave", async || deaf.is_told()).await;
    deaf
}

/// Calls until it is told so, and says why. Between the calls too little time passes for the
/// connection to be one without calls.
async fn unauthenticated(deaf: &Deaf) -> String {
    let why = RefCell::default();
    until("a call is refused", async || match call(deaf).await {
        Err(status) if status.code() == Code::Unauthenticated => {
            why.replace(failure(Err::<(), _>(status)).meta("why").to_owned());
            true
        }
        _ => false,
    })
    .await;
    why.into_inner()
}

/// The connection ends, although the client goes on to call.
async fn is_closed(deaf: &Deaf) {
    until("the end of the connection", async || {
        let _ = call(deaf).await;
        deaf.is_closed()
    })
    .await;
}

#[tokio::test]
async fn who_stays_although_asked_to_leave_is_refused_once_revoked() {
    for (reason, lines) in REASONS {
        let (secured, _issuer) =
            started(&format!("{lines}\nmax_connection_age_grace = \"1h\"")).await;
        let own = secured.client_of(APP);
        let deaf = told(&secured, &own, reason).await;
        let before = call(&deaf).await;
        match reason {
            // No call more is looked at.
            "unproved" => {
                let before = failure(before);
                assert!(before.is(Code::Unavailable, "OVERLOADED"), "{before:#?}");
            }
            _ => before.unwrap(),
        }
        let revoking = async {
            secured.put("crl", secured.authority.revoke(&[&own]));
            secured.applied(&["client_crl"]).await;
        };
        // It calls all the time: without calls its connection is closed after two seconds.
        let (why, ()) = tokio::join!(unauthenticated(&deaf), revoking);
        assert_eq!(why, "invalid", "{reason}");
        assert!(!deaf.is_closed(), "{reason}");
    }
}

#[tokio::test]
async fn who_stays_although_asked_to_leave_is_refused_once_the_certificate_has_run_out() {
    let (secured, _issuer) = started("max_connection_idle = \"200ms\"").await;
    let own = secured.authority.issue(&Leaf::client(&[APP]).valid(-100, 8));
    let deaf = told(&secured, &own, "idle").await;
    assert_eq!(unauthenticated(&deaf).await, "expired");
}

#[tokio::test]
async fn who_stays_although_asked_to_leave_loses_the_connection_after_the_grace() {
    for (reason, lines) in REASONS {
        let (secured, _issuer) =
            started(&format!("{lines}\nmax_connection_age_grace = \"1s\"")).await;
        let deaf = told(&secured, &secured.client_of(APP), reason).await;
        is_closed(&deaf).await;
        assert_eq!(secured.closed(reason).await, 1.0, "{reason}");
    }
}

#[tokio::test]
async fn who_is_revoked_loses_the_connection_after_the_grace_whatever_its_age_may_be() {
    let (secured, _issuer) =
        started("max_connection_age = \"off\"\nmax_connection_age_grace = \"1s\"").await;
    let own = secured.client_of(APP);
    let deaf = connect(&secured, &own).await;
    call(&deaf).await.unwrap();
    secured.put("crl", secured.authority.revoke(&[&own]));
    secured.applied(&["client_crl"]).await;
    is_closed(&deaf).await;
    assert_eq!(secured.closed("certificate_refused").await, 1.0);
}

//! Which clients are accepted: of those that are connected, the others have to leave.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use tokio::sync::Semaphore;
use tonic::{Code, Status, transport::Channel};

use super::secured::{APP, Secured};
use crate::{
    kit::{
        bodies::{profile, profiles},
        certificates::{Authority, Leaf},
        double::{self, Answer, GET, double},
        gateway::{fresh, gateway},
        model,
        sandbox::sandbox,
        status::failure,
        until,
    },
    watching::stream::{Watch, open_over},
};

const OPTIONAL: &str = "client_ca = \"@/ca\"\nclient_auth = \"optional\"\n";
const REQUIRED: &str = "client_ca = \"@/ca\"\nclient_auth = \"required\"\n";

type Client = ProfileServiceClient<Channel>;

async fn watch(client: &Client) -> Watch {
    let mut watch = open_over(client.clone(), model::BACKEND, "").await.unwrap();
    watch.begin().await;
    watch
}

async fn reads(client: &Client) -> bool {
    client.clone().get_profile(model::get("SP_2")).await.is_ok()
}

/// How many connections were closed after their handshakes.
async fn closed_others(secured: &Secured) -> f64 {
    secured.closed("").await - secured.closed("handshake").await
}

/// The end of a stream. The bound is for a broken program, which keeps the stream alive.
async fn end_of(watch: Watch) -> Status {
    let end = tokio::time::timeout(Duration::from_secs(30), watch.end()).await;
    end.expect("the stream goes on")
}

/// A stream ends because its client is not accepted any more, and the connection with it.
async fn ends(secured: &Secured, watch: Watch, why: &str, ended: f64) {
    let end = failure(Err::<(), _>(end_of(watch).await));
    assert!(end.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"), "{end:#?}");
    assert_eq!(end.meta("why"), why);
    until("the end of the connection", async || {
        secured.closed("certificate_refused").await == ended
    })
    .await;
}

#[tokio::test]
async fn a_revoked_client_loses_its_connection_and_no_other_client_notices() {
    let upstream = sandbox().await;
    let keys = format!("{REQUIRED}client_crl = \"@/crl\"");
    let secured = Secured::started(&upstream.config(), &keys).await;
    let (good, bad) = (secured.client_of(APP), secured.client_of(APP));
    let (kept, revoked) = (secured.client(Some(&good)).await, secured.client(Some(&bad)).await);
    let (goes_on, ended) = (watch(&kept).await, watch(&revoked).await);
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let calling = tokio::spawn({
        let (stop, calls, client) = (Arc::clone(&stop), Arc::clone(&calls), kept.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                client.clone().get_profile(model::get("SP_2")).await.unwrap();
                calls.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    secured.put("crl", secured.authority.revoke(&[&bad]));
    secured.applied(&["client_crl"]).await;
    ends(&secured, ended, "invalid", 1.0).await;
    // It cannot connect again.
    assert!(!reads(&revoked).await);
    let failures = "tls_handshake_failures_total";
    let gateway = &secured.reloading.gateway;
    until("the refusal", async || gateway.metric(failures, "\"revoked\"").await >= 1.0).await;
    let before = calls.load(Ordering::Relaxed);
    until("calls", async || calls.load(Ordering::Relaxed) > before + 8).await;
    stop.store(true, Ordering::Relaxed);
    calling.await.unwrap();
    let goes_on = tokio::time::timeout(Duration::from_millis(500), goes_on.end()).await;
    assert!(goes_on.is_err(), "{goes_on:?}");
    assert_eq!(closed_others(&secured).await, 1.0);
}

#[tokio::test]
async fn a_call_under_way_is_answered_when_its_client_has_to_leave() {
    let (upstream, gate) = (double().await, Arc::new(Semaphore::new(0)));
    let answer = double::json(profiles(&[profile("SP_1", "One")]));
    upstream.always(GET, Answer::Gated(Arc::clone(&gate), Box::new(answer)));
    let backends = gateway().fixed("sft", &upstream.base_url, "").sections();
    let secured = Secured::started(&backends, &format!("{REQUIRED}client_crl = \"@/crl\"")).await;
    let own = secured.client_of(APP);
    let client = secured.client(Some(&own)).await;
    let mut slow = client.clone();
    let slow = tokio::spawn(async move { slow.get_profile(fresh(model::get("SP_1"))).await });
    until("the call upstream", async || upstream.count(GET) == 1).await;
    secured.put("crl", secured.authority.revoke(&[&own]));
    secured.applied(&["client_crl"]).await;
    // New calls are refused, on the connection or in the next handshake.
    until("a refusal", async || {
        let mut call = fresh(model::get("SP_1"));
        call.set_timeout(Duration::from_millis(200));
        let code = client.clone().get_profile(call).await.map_err(|status| status.code());
        code.is_err_and(|code| code != Code::DeadlineExceeded)
    })
    .await;
    assert!(!slow.is_finished());
    gate.add_permits(100);
    slow.await.unwrap().unwrap();
    until("the end", async || secured.closed("certificate_refused").await == 1.0).await;
}

#[tokio::test]
async fn clients_of_an_authority_leave_with_it_and_not_before() {
    let (upstream, other) = (sandbox().await, Authority::new());
    let secured = Secured::started(&upstream.config(), REQUIRED).await;
    let own = secured.client_of(APP);
    let first = secured.client(Some(&own)).await;
    let ended = watch(&first).await;
    // Both authorities, for as long as clients get other certificates.
    let [one, two] =
        [&secured.authority, &other].map(|of| fs::read_to_string(of.path("ca.pem")).unwrap());
    secured.reloading.files().put("ca", format!("{one}{two}"));
    secured.applied(&["client_ca"]).await;
    let theirs = other.issue(&Leaf::client(&[APP]));
    let second = secured.channel_of(secured.authority.client(Some(&theirs))).await.unwrap();
    let second = ProfileServiceClient::new(second);
    assert!(reads(&first).await && reads(&second).await);
    assert_eq!(secured.closed("").await, 0.0);
    secured.reloading.files().put("ca", two);
    secured.applied(&["client_ca"]).await;
    ends(&secured, ended, "invalid", 1.0).await;
    assert!(!reads(&first).await);
    assert!(reads(&second).await);
    assert_eq!(closed_others(&secured).await, 1.0);
}

#[tokio::test]
async fn who_has_shown_nothing_leaves_when_certificates_are_demanded() {
    let upstream = sandbox().await;
    let secured = Secured::started(&upstream.config(), OPTIONAL).await;
    let own = secured.client_of(APP);
    let (with, without) = (secured.client(Some(&own)).await, secured.client(None).await);
    let (goes_on, ended) = (watch(&with).await, watch(&without).await);
    let latest = secured.change(REQUIRED).await;
    assert_eq!(latest["latest"]["outcome"], "applied", "{latest}");
    ends(&secured, ended, "missing", 1.0).await;
    assert!(reads(&with).await);
    // What no one asks for proves nothing.
    let latest = secured.change("").await;
    assert_eq!(latest["latest"]["outcome"], "applied", "{latest}");
    ends(&secured, goes_on, "invalid", 2.0).await;
    assert!(reads(&secured.client(None).await).await);
}

#[tokio::test]
async fn workloads_of_another_domain_leave_and_callers_are_held_against_it() {
    let upstream = sandbox().await;
    let rules = |domain: &str| {
        format!(
            "[auth]\nmode = \"required\"\n[auth.roles.all]\nrights = \"read\"\nbackends = \"*\"\n\
             [auth.callers.app]\nroles = \"all\"\nspiffe = \"spiffe://{domain}/app\"\n"
        )
    };
    let backends = upstream.config() + &rules("example.org");
    let secured = Secured::started(&backends, REQUIRED).await;
    let ids = ["spiffe://example.org/app", "spiffe://elsewhere.example/app"];
    let [one, other] = ids.map(|id| secured.client_of(id));
    let (one, other) = (secured.client(Some(&one)).await, secured.client(Some(&other)).await);
    let ended = watch(&one).await;
    assert!(!reads(&other).await, "its caller is not configured");
    // The caller could be proved by no one.
    let keys = format!("{REQUIRED}trust_domain = \"elsewhere.example\"");
    let latest = secured.change(&keys).await;
    assert_eq!(latest["latest"]["outcome"], "refused", "{latest}");
    let told = "is not of `server.tls.trust_domain`";
    assert!(latest["latest"]["errors"].to_string().contains(told), "{latest}");
    assert!(reads(&one).await);
    let text = secured.config(&keys).text();
    let text = text.replace(&rules("example.org"), &rules("elsewhere.example"));
    let latest = secured.reloading.change_to(&text).await;
    assert_eq!(latest["latest"]["outcome"], "applied", "{latest}");
    // The rules of its caller have changed as well.
    end_of(ended).await;
    until("the end", async || secured.closed("certificate_refused").await == 1.0).await;
    assert!(!reads(&one).await);
    assert!(reads(&other).await);
}

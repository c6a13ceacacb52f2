//! Everything is changed again and again while callers call.

use std::{
    future::{Future, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use serde_json::json;
use tokio::task::JoinHandle;
use tonic::{Status, transport::Channel};

use super::secured::{APP, Secured};
use crate::kit::{
    bodies::{profile, profiles, tokens},
    certificates::{Leaf, channel_to},
    double::{self, GET, LOGIN, Seen, double},
    gateway::{Builder, fresh, gateway},
    model,
    reloading::{Files, reloading},
    show,
    tokens::{Issuer, caller, good, key_set, role, rsa_jwk},
    until,
};

const ROUNDS: usize = 10;

/// Callers that read until they are to stop, or a read fails.
#[derive(Default)]
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Result<(), Status>>>,
}

impl Load {
    /// So many more, each of which has a client from `connect` for each read.
    fn begin<F>(&mut self, callers: usize, connect: impl Fn() -> F + Clone + Send + 'static)
    where
        F: Future<Output = ProfileServiceClient<Channel>> + Send + 'static,
    {
        for number in 0..callers {
            let (stop, calls) = (Arc::clone(&self.stop), Arc::clone(&self.calls));
            self.callers.push(tokio::spawn(calling(connect.clone(), number, stop, calls)));
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Waits for some calls that begin now.
    async fn goes_on(&self) {
        let before = self.calls();
        until("calls", async || self.calls() > before + 8).await;
    }

    /// Ends it. No call has failed.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap().unwrap();
        }
    }
}

/// Each fourth read is past the cache.
async fn calling<F>(
    connect: impl Fn() -> F,
    mut turn: usize,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
) -> Result<(), Status>
where
    F: Future<Output = ProfileServiceClient<Channel>>,
{
    let token = good("one");
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let mut request = match turn % 4 {
            0 => fresh(model::get("SP_1")),
            _ => tonic::Request::new(model::get("SP_1")),
        };
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        connect().await.get_profile(request).await?;
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Secrets, keys, callers and settings change ten times each: no call fails, and there is no login
/// but one for each new secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_while_everything_is_changed() {
    let upstream = double().await;
    // It takes the password before and the next one, as a vendor does while one is replaced.
    let login = double::by(|seen: &Seen| {
        assert!(String::from_utf8_lossy(&seen.body).contains("-password-of-the-kit"));
        double::json(tokens("access-of-the-kit", "refresh-of-the-kit"))
    });
    upstream.always(LOGIN, login).always(GET, double::json(profiles(&[profile("SP_1", "One")])));
    let (issuer, files) = (Issuer::new(), Files::new());
    files.put("password", "0-password-of-the-kit");
    let rules = role("all", "read, fresh", "*") + &caller("one", "all");
    let lines = format!("username = \"operator\"\npassword = {}\n", files.secret("password"));
    let config = |more: &str, rules: &str| -> Builder {
        let builder = gateway().section(&issuer.config("", rules));
        builder.backend("sft", &upstream.base_url, &format!("{lines}{more}"))
    };
    let reloading = reloading(files, config("", &rules)).await;
    let mut load = Load::default();
    let client = reloading.gateway.profiles.clone();
    load.begin(8, move || ready(client.clone()));
    for round in 1..=ROUNDS {
        reloading.files().put("password", format!("{round}-password-of-the-kit"));
        assert_eq!(reloading.reload().await["latest"]["outcome"], "applied", "password {round}");
        let mut keys = key_set();
        keys["keys"].as_array_mut().unwrap().push(rsa_jwk(&format!("next-{round}")));
        issuer.publish(&keys);
        reloading.reload().await;
        let more = format!("request_timeout = \"{}s\"\n", 20 + round);
        let other = rules.clone() + &caller(&format!("other{round}"), "all");
        let latest = reloading.change(config(&more, &other)).await;
        assert_eq!(latest["latest"]["outcome"], "applied", "{latest}");
        load.goes_on().await;
    }
    show(&format!("calls: {}", load.calls()));
    load.end().await;
    let logins = upstream.count(LOGIN);
    assert!((2..=ROUNDS + 1).contains(&logins), "{logins} logins");
    let latest = json!(reloading.latest().await["latest"]["outcome"]);
    assert_eq!(latest, "applied");
}

/// The certificate of the gateway, and the lists of revoked clients, change ten times: no call
/// fails, neither on connections that stay nor on one for each call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_while_certificates_are_rotated() {
    let upstream = double().await;
    upstream.always(GET, double::json(profiles(&[profile("SP_1", "One")])));
    let backends = gateway().fixed("sft", &upstream.base_url, "").sections();
    let keys = "client_ca = \"@/ca\"\nclient_crl = \"@/crl\"";
    let secured = Secured::started(&backends, keys).await;
    let own = secured.client_of(APP);
    let mut load = Load::default();
    let client = secured.client(Some(&own)).await;
    load.begin(4, move || ready(client.clone()));
    let tls = secured.authority.client(Some(&own)).grpc();
    let address = secured.reloading.gateway.address;
    load.begin(4, move || {
        let tls = tls.clone();
        async move { ProfileServiceClient::new(channel_to(tls, address).await.unwrap()) }
    });
    for _ in 0..ROUNDS {
        secured.put_own(&secured.authority.issue(&Leaf::server(&["localhost"])));
        secured.put("crl", secured.authority.revoke(&[&secured.client_of(APP)]));
        secured.applied(&["cert", "key", "client_crl"]).await;
        load.goes_on().await;
    }
    show(&format!("calls: {}", load.calls()));
    load.end().await;
    assert_eq!(secured.closed("").await, 0.0);
}

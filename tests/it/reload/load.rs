//! Everything is changed again and again while callers call.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use serde_json::json;
use tonic::{Status, transport::Channel};

use crate::kit::{
    bodies::{profile, profiles, tokens},
    double::{self, GET, LOGIN, Seen, double},
    gateway::{Builder, fresh, gateway},
    model,
    reloading::{Files, reloading},
    show,
    tokens::{Issuer, caller, good, key_set, role, rsa_jwk},
};

const ROUNDS: usize = 10;

/// Reads until it is to stop, or a read fails. Each fourth is past the cache.
async fn calling(
    mut client: ProfileServiceClient<Channel>,
    mut turn: usize,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
) -> Result<(), Status> {
    let token = good("one");
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let mut request = match turn % 4 {
            0 => fresh(model::get("SP_1")),
            _ => tonic::Request::new(model::get("SP_1")),
        };
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        client.get_profile(request).await?;
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
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|number| {
            let client = reloading.gateway.profiles.clone();
            tokio::spawn(calling(client, number, Arc::clone(&stop), Arc::clone(&calls)))
        })
        .collect();
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
        let before = calls.load(Ordering::Relaxed);
        crate::kit::until("calls", async || calls.load(Ordering::Relaxed) > before + 8).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    let logins = upstream.count(LOGIN);
    show(&format!("calls: {}, logins: {logins}", calls.load(Ordering::Relaxed)));
    assert!((2..=ROUNDS + 1).contains(&logins), "{logins} logins");
    let latest = json!(reloading.latest().await["latest"]["outcome"]);
    assert_eq!(latest, "applied");
}

//! Tokens that do not count yet, and credentials that no login can renew.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use profile_gateway::pb::CircuitState;
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use super::{REFRESH_TOKEN, found, refusals, status};
use crate::kit::{
    bodies::{fixture, tokens},
    double::{self, Answer, DELETE, GET, LOGIN, OTHER, REFRESH, double},
    gateway::{self, gateway},
    later,
    status::{fails, failure},
    vendors::vendors,
};

/// Issues tokens that count only a while later, and refuses them until then.
fn slow_to_count(refusal: Answer, found: Answer) -> (Answer, Answer) {
    let issued = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::clone(&issued);
    let login = double::by(move |seen| {
        let mut issued = issued.lock().unwrap();
        let token = format!("access-{}-of-the-kit", issued.len());
        issued.push(Instant::now());
        let is_sft = seen.operation() == Some(LOGIN);
        let sft = || tokens(&token, REFRESH_TOKEN);
        double::json(if is_sft { sft() } else { json!({"auth_token": token}) })
    });
    let read = double::by(move |seen| {
        let header = [seen.header("x-authorization"), seen.header("authorization")].concat();
        let number = header.split('-').nth(1).and_then(|number| number.parse::<usize>().ok());
        let known = known.lock().unwrap();
        let issued = number.and_then(|number| known.get(number));
        let counts = issued.is_some_and(|at| at.elapsed() >= Duration::from_millis(300));
        if counts { found.clone() } else { refusal.clone() }
    });
    (login, read)
}

// Regression: four logins in 60 ms, and then a pause that never ended.
#[tokio::test]
async fn a_token_that_does_not_count_yet_is_tried_again() {
    for (what, refusal) in refusals() {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        let (login, read) = slow_to_count(refusal, found());
        upstream.always(LOGIN, login.clone()).always(REFRESH, login).always(GET, read);
        for result in join_all((0..20).map(|_| gateway.get("SP_1"))).await {
            result.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        }
        assert_eq!((upstream.count(LOGIN), upstream.count(REFRESH)), (1, 0), "{what}");
        assert_eq!(status(&gateway).await.circuit_state(), CircuitState::Closed, "{what}");
    }
    for refusal in ["", r#"{"error_code": 1102, "message": "no"}"#] {
        let upstream = double().await;
        let section = format!(
            "[backends.sft]\ndialect = \"endpoint\"\nbase_url = \"{}\"\n\
             application_token = \"application-of-the-kit\"\n",
            upstream.base_url
        );
        let gateway = gateway().section(&section).start().await;
        let refusal = double::http(401, "application/json", refusal);
        let (login, read) = slow_to_count(refusal, double::json(json!({"id": 1, "name": "one"})));
        upstream.always(
            OTHER,
            double::by(move |seen| {
                let is_login = seen.path == "/api/v1/authenticate";
                if is_login { login.clone() } else { read.clone() }
            }),
        );
        for result in join_all((0..20).map(|_| gateway.get("1"))).await {
            result.unwrap();
        }
        let logins = upstream.seen().iter().filter(|seen| seen.method == "POST").count();
        assert_eq!(logins, 1);
    }
}

#[tokio::test]
async fn a_write_whose_token_does_not_count_yet_is_carried_out_once() {
    for (what, refusal) in refusals() {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        let deleted = double::json(fixture("delete-success"));
        let (login, write) = slow_to_count(refusal, deleted);
        upstream.always(LOGIN, login).always(DELETE, write);
        let gone = double::json(fixture("get-failure-no-data-available"));
        upstream.always(GET, gone);
        gateway.delete("SP_1").await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert_eq!((upstream.count(LOGIN), upstream.count(DELETE)), (1, 2), "{what}");
    }
}

// Regression: each call was sent, although the vendor may lock the account.
#[tokio::test]
async fn rejected_basic_credentials_pause() {
    let [.., pcc] = vendors();
    for body in ["", "<html>401</html>", r#"{"message": "no"}"#] {
        let upstream = double().await;
        let gateway = pcc.on(gateway(), &upstream.base_url, "").start().await;
        upstream.always(OTHER, double::http(401, "text/html", body));
        for n in 0..4 {
            let failed = failure(gateway.get(pcc.id).await);
            assert!(failed.is(Code::Internal, "UPSTREAM_AUTH_FAILED"), "{n}: {failed:#?}");
        }
        fails(gateway.delete(pcc.id).await, Code::Internal, "UPSTREAM_AUTH_FAILED");
        assert_eq!(upstream.seen().len(), 1, "only the first was sent");
        assert_eq!(status(&gateway).await.circuit_state(), CircuitState::Open);
        assert!(!gateway.serving("backends/sft").await);
        later(Duration::from_secs(5 * 60 + 1)).await;
        let tries = join_all((0..5).map(|_| gateway.get(pcc.id))).await;
        assert!(tries.iter().all(Result::is_err));
        assert_eq!(upstream.seen().len(), 2, "one of them tried");
        upstream.always(OTHER, pcc.found.clone());
        later(Duration::from_secs(10 * 60 + 1)).await;
        gateway.get(pcc.id).await.unwrap();
        gateway.get(pcc.id).await.unwrap();
        assert_eq!(upstream.seen().len(), 4);
        assert!(gateway.serving("backends/sft").await);
    }
}

#[tokio::test]
async fn a_fixed_token_that_is_refused_again_and_again_pauses() {
    let [sft, endpoint, _] = vendors();
    for vendor in [sft, endpoint] {
        let upstream = double().await;
        let gateway = vendor.on(gateway(), &upstream.base_url, "").start().await;
        upstream.always(vendor.get, double::http(401, "text/html", ""));
        for _ in 0..10 {
            fails(gateway.get(vendor.id).await, Code::Internal, "UPSTREAM_AUTH_FAILED");
        }
        assert_eq!(upstream.seen().len(), 3, "{}", vendor.dialect);
        upstream.always(vendor.get, vendor.found.clone());
        later(Duration::from_secs(31)).await;
        gateway.get(vendor.id).await.unwrap();
    }
}

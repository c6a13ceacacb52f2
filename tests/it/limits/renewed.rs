//! What a request costs that is sent once more with a renewed token: as much as two.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tonic::Code;

use super::sharing::{GREEDY, OTHER_CALLER, from, get};
use crate::kit::{
    bodies,
    double::{self, Double, GET, LOGIN, REFRESH, double},
    gateway::{Gateway, PASSWORD, gateway},
    later,
    status::fails,
};

/// A gateway over an account whose tokens are good for one request each.
async fn start(limit: &str) -> (Double, Gateway) {
    let upstream = double().await;
    let lines = format!(
        "username = \"operator\"\npassword = \"{PASSWORD}\"\nmax_attempts = 1\n\
         requests_per_second = \"off\"\nrequest_limit = \"{limit}\"\n"
    );
    let gateway = gateway().backend("sft", &upstream.base_url, &lines).start().await;
    let given = Mutex::new(0);
    let tokens = double::by(move |_| {
        let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
        *given += 1;
        let token = |kind: &str| format!("{kind}-{given}-of-the-kit");
        double::json(bodies::tokens(&token("access"), &token("refresh")))
    });
    let used = Mutex::new(HashSet::new());
    let answer = double::by(move |seen| {
        let token = seen.header("x-authorization").to_owned();
        match used.lock().unwrap_or_else(PoisonError::into_inner).insert(token) {
            true => double::json(bodies::profiles(&[bodies::profile(seen.id(), "one")])),
            false => double::http(401, "text/html", "<html>401</html>"),
        }
    });
    upstream.always(LOGIN, tokens.clone()).always(REFRESH, tokens).always(GET, answer);
    (upstream, gateway)
}

#[tokio::test]
async fn a_request_repeated_for_its_renewed_token_counts_twice() {
    let (upstream, gateway) = start("40/24h").await;
    let (greedy, other) = (from(GREEDY, &gateway), from(OTHER_CALLER, &gateway));
    get(&other, "SP_1").await.unwrap();
    let mut reads = 0;
    let refused = loop {
        // A new token that is refused is tried again, before it counts as refused.
        later(Duration::from_secs(2)).await;
        match get(&greedy, "SP_1").await {
            Ok(()) => reads += 1,
            refused => break refused,
        }
        let used = gateway.metric("upstream_window_used", "window=\"requests\"").await;
        assert_eq!(used, f64::from(u32::try_from(upstream.seen().len()).unwrap()), "{reads}");
    };
    // Half of the 32 that calls may use is the share of each, and each read took two of it.
    fails(refused, Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED");
    assert_eq!((reads, upstream.count(GET)), (8, 17));
}

//! What all tests share: a gateway in this process, upstreams to point it at, and ways to
//! decode statuses.
//!
//! Every credential that the kit makes up contains [`SECRET`], so that one check finds them all.

pub mod bodies;
pub mod calls;
pub mod certificates;
pub mod chance;
pub mod chaos;
pub mod child;
pub mod deaf;
pub mod double;
pub mod envoy;
pub mod gateway;
pub mod history;
pub mod jwks;
pub mod model;
pub mod prometheus;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod reloading;
pub mod replicas;
pub mod sandbox;
pub mod status;
pub mod tap;
pub mod tls;
pub mod tokens;
pub mod vendors;
pub mod wire;

use std::{future::Future, time::Duration};

/// Part of every credential of the kit; see [`status::failure`].
pub const SECRET: &str = "of-the-kit";

/// Shows figures if the tests are run with `--nocapture`.
#[expect(clippy::print_stdout, reason = "shown only on request, with --nocapture")]
pub fn show(figures: &str) {
    println!("{figures}");
}

/// Lets time pass for everything in this test, at once.
pub async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Asks again until the condition holds. The bound is for a broken program, not for a slow one.
#[track_caller]
pub fn until<F>(what: &str, mut holds: impl FnMut() -> F) -> impl Future<Output = ()>
where
    F: Future<Output = bool>,
{
    let failed = format!("never happened: {what}");
    async move {
        for _ in 0..1500 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{failed}");
    }
}

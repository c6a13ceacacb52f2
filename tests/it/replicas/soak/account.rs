//! What replicas share of an account is tried when nothing else is in trouble.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{
    backends::{LIMITED, MARK, ROTATED},
    field::Field,
};
use crate::{
    kit::{gateway::fresh, model, sandbox::PASSWORD},
    replicas::history::Trouble,
};

/// How long replicas have to get over the trouble before.
const RECOVERED: Duration = Duration::from_secs(5);
/// How long an account is asked for more than it gives, and how long it has a wrong password.
const STRAINED: Duration = Duration::from_secs(3);
const WRONG: Duration = Duration::from_secs(2);
/// How many calls each replica makes at once.
const AT_ONCE: usize = 8;

impl Field {
    /// One account is asked for more than it gives, and another one has a wrong password.
    pub(super) async fn strain_accounts(&self) {
        sleep(RECOVERED).await;
        let from = self.now().ms;
        self.ask(LIMITED, STRAINED).await;
        self.note(Trouble::Strained { from, to: self.now().ms });
        let from = self.now().ms;
        let (right, wrong) = (marked(PASSWORD), marked(&format!("wrong-{}", self.number())));
        self.change(&right, &wrong);
        self.ask(ROTATED, WRONG).await;
        self.change(&wrong, &right);
        self.ask(ROTATED, WRONG).await;
        self.note(Trouble::Rotated { from, to: self.now().ms });
        self.sandbox.post("/sandbox/sft/unlock", json!({})).await;
    }

    fn change(&self, from: &str, to: &str) {
        for replica in &self.replicas {
            replica.change(|config| config.replace(from, to));
            replica.signal(Signal::HUP);
        }
    }

    /// Asks all replicas as fast as they answer.
    async fn ask(&self, backend: &str, time: Duration) {
        let end = Instant::now() + time;
        let parent = format!("backends/{backend}");
        let calls = self.replicas.iter().flat_map(|replica| {
            (0..AT_ONCE).map(|_| async {
                while Instant::now() < end {
                    let mut client = replica.profiles();
                    let list = client.list_profiles(fresh(model::list(&parent)));
                    match timeout(time, list).await {
                        Ok(Ok(_)) => self.count(&format!("{backend} answered")),
                        _ => sleep(Duration::from_millis(20)).await,
                    }
                }
            })
        });
        join_all(calls).await;
    }
}

fn marked(password: &str) -> String {
    format!("password = {password:?}{MARK}")
}

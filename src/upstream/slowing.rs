//! What an answer means for the requests after it: a 429 slows them down.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{cause::Failure, client::Upstream, message::Reply, status};
use crate::{
    error::{Result, whole_seconds},
    shared::commands::Throttled,
};

impl Upstream {
    /// Slows down after a 429, and notes the pause in it. Other replicas learn of it before anyone
    /// does.
    pub(super) async fn keep_pace(&self, result: &mut Result<Reply, Failure>, epoch: u64) {
        if let Some(pause) = self.slow_down(result, epoch)
            && let Some(sharing) = self.sharing.get()
        {
            let strikes = self.pace.strikes();
            let pause = Throttled { pause, strikes, again: false };
            // Where it is not heard, the others find out by themselves.
            let _ = sharing.replicas.throttled(self.pace.shared_rate(), pause).await;
        }
    }

    /// Gives the pause if it is longer now.
    fn slow_down(&self, result: &mut Result<Reply, Failure>, epoch: u64) -> Option<Duration> {
        let (now, mut longer) = (Instant::now(), None);
        match result {
            Ok(reply) if reply.status == StatusCode::TOO_MANY_REQUESTS => {
                let asked = status::retry_after(reply);
                let before = self.pace.pause_left(now);
                let pause = self.pace.throttled(asked, epoch, now);
                longer = Some(pause).filter(|pause| *pause > before || before.is_zero());
                reply.pause = Some(pause);
                self.metrics.throttled();
                if before.is_zero() {
                    tracing::warn!(
                        target: "upstream", backend = self.backend.as_str(),
                        asked_for = asked.map(status::shown_retry_after),
                        pauses_for = humantime::format_duration(whole_seconds(pause)).to_string(),
                        "the upstream asks for a pause (429): nothing is sent"
                    );
                }
            }
            Ok(reply) if !status::gave_up(reply.status) => self.pace.answered(epoch),
            Ok(_) | Err(_) => {}
        }
        if let Some(rate) = self.pace.rate(now) {
            self.metrics.rate(rate);
        }
        longer
    }
}

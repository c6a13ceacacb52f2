//! Agrees with other replicas on what an upstream account is spared: how many requests it gets, and
//! logins after it has refused one.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    class::Class,
    client::Upstream,
    credentials::spans,
    keeper::Account,
    pace::Refusal,
    shared::Replicas,
    sharing::{Asks, Permit, Sharing},
};
use crate::{
    shared::{
        commands::{PauseSpans, Reserve, Reserved},
        protocol::Token,
    },
    store::StoreKey,
};

/// How often an upstream that sends nothing hears of the others.
const EVERY: Duration = Duration::from_secs(1);

impl Upstream {
    /// From here on, these have the last word of its limits. `key` is theirs too.
    pub fn share_in(&self, replicas: Arc<dyn Replicas>, key: &Arc<StoreKey>, account: &Account) {
        let sharing = Sharing::new(replicas, Arc::clone(key), account);
        let _ = self.sharing.set(Arc::new(sharing));
    }

    /// Hears of the others, until it is given up.
    pub async fn share(self: Arc<Self>) {
        let Some(sharing) = self.sharing.get() else { return };
        loop {
            if sharing.replicas.is_up() {
                self.hear(sharing).await;
            }
            sleep(EVERY).await;
        }
    }

    /// The permit of a request that has passed the limits of this replica.
    pub(super) async fn permit(self: &Arc<Self>, class: Class) -> Permit {
        let now = Instant::now();
        let Some(sharing) = self.sharing.get() else { return Permit::At(now) };
        match sharing.join(class, &self.pace, now) {
            Asks::Has(permit) => permit,
            Asks::Waits(receiver, is_first) => {
                if is_first {
                    // Ends when none waits, and each question has its time.
                    let (this, sharing) = (Arc::clone(self), Arc::clone(sharing));
                    tokio::spawn(async move {
                        sharing.serve(&this.pace, &this.credentials).await;
                    });
                }
                // It has ended without an answer.
                receiver.await.unwrap_or_else(|_| sharing.unanswered(&self.pace, Instant::now()))
            }
        }
    }

    /// Counts a login that is sent now.
    pub(super) async fn permit_login(&self) -> Result<(), Refusal> {
        self.pace.take_login(Instant::now())?;
        let Some(sharing) = self.sharing.get() else { return Ok(()) };
        let windows = self.pace.asks_of_logins(Instant::now());
        if windows.is_empty() || self.pace.is_alone() {
            return Ok(());
        }
        match sharing.replicas.reserve_login(&windows).await {
            Some(answer) => self.pace.know_of_login(&answer, Instant::now()),
            // It is one, and the next request sees that the server is away.
            None => Ok(()),
        }
    }

    /// Ends the pauses of all replicas, for an operator. Whether they knew of one.
    pub(super) async fn end_shared_pauses(&self) -> bool {
        let Some(sharing) = self.sharing.get() else { return false };
        let ended = sharing.replicas.end_pause().await;
        let credentials = sharing.credentials();
        let of_logins = sharing.replicas.login_end(&credentials, None).await;
        if ended.is_none() || of_logins.is_none() {
            tracing::warn!(
                target: "upstream", backend = self.backend.as_str(),
                "the store that replicas share cannot be asked: the pause has ended here alone"
            );
        }
        ended == Some(true) || of_logins == Some(true)
    }

    /// Takes over the pauses that replicas know of, in a process that does not belong to them.
    /// `look` asks what they share; returns whether there was an answer.
    pub async fn heed(
        &self,
        (key, account): (&StoreKey, &Account),
        look: impl AsyncFnOnce(&Reserve) -> Option<Reserved>,
    ) -> bool {
        let batch = self.pace.asks([0; Class::COUNT], Instant::now());
        let batch = Reserve { credentials: account.name_of_secrets(key), ..batch };
        let Some(answer) = look(&batch).await else { return false };
        let (now, round) = (Instant::now(), self.credentials.round());
        self.pace.know(&batch, &answer, 0, now);
        self.credentials.take_over(&answer.logins, round, now);
        true
    }

    pub(super) async fn hear(self: &Arc<Self>, sharing: &Sharing) {
        let round = self.credentials.round();
        let asked = sharing.ask([0; Class::COUNT], &self.pace, &self.credentials).await;
        let Some((answer, _)) = asked else { return };
        if let Some(pause) = self.pace.untold_pause(answer.pause, Instant::now()) {
            // Where it is not heard, it is told again.
            let _ = sharing.replicas.throttled(self.pace.shared_rate(), pause).await;
        }
        self.hear_of_logins(sharing, round).await;
    }

    async fn hear_of_logins(self: &Arc<Self>, sharing: &Sharing, round: u64) {
        let (heard, now) = (sharing.logins(), Instant::now());
        let own = self.credentials.known_pause(now);
        // Nothing is known where nothing began.
        let is_same = !heard.began.is_empty() && own.began == heard.began;
        let own_left = own.pause.as_ref().map(|pause| pause.left).unwrap_or_default();
        if let Some(pause) = &heard.pause {
            // What is known differs by the time that an answer takes.
            let is_news = match is_same {
                true => pause.left.abs_diff(own_left) > EVERY,
                false => pause.left + EVERY >= own_left,
            };
            if is_news {
                self.credentials.take_over(&heard, round, now);
                self.publish(None);
            }
        } else if is_same {
            if self.credentials.end_with(&heard) {
                self.publish(None);
            }
        } else if let Some(pause) = own.pause.filter(|pause| !pause.left.is_zero()) {
            // It began while the server was away, or the server has lost it.
            let credentials = sharing.credentials();
            let login = (credentials.as_str(), Token(rand::random()));
            let longest = spans(false).longest;
            let spans = PauseSpans { first: pause.left, longest };
            let known = sharing.replicas.login_pause(login, spans, &pause.why).await;
            if let Some(known) = known {
                self.credentials.take_over(&known, round, Instant::now());
            }
        }
    }
}

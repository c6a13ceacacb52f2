//! Logins of replicas, one after another: while one logs in, the others wait, and what it finds of
//! the credentials is true for all of them.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    authentication::Tokens,
    client::Upstream,
    credentials::{Alone, spans, why},
    sharing::Sharing,
};
use crate::{
    error::{Error, Reason, Result, Retry, whole_seconds},
    shared::{
        commands::{KnownLogins, LoginEnd, LoginTurn, RefusedKind},
        protocol::Token,
    },
};

/// How often a replica asks whether another one has ended its login.
const ASKS_EVERY: Duration = Duration::from_millis(250);
/// The same while there is no answer.
const TRIES_EVERY: Duration = Duration::from_millis(50);
/// How long it tries.
const AWAY_AFTER: Duration = Duration::from_secs(1);
/// How long it is tried to say how a login has ended.
const SAID_EVERY: Duration = Duration::from_millis(500);
/// How long a turn lasts beyond the requests of a login.
const MARGIN: Duration = Duration::from_secs(5);

/// A login may be made.
pub(super) enum Turn {
    /// No other replica logs in meanwhile.
    Own(OwnTurn),
    /// Others cannot be asked.
    Alone,
}

/// A turn that others wait for the end of. It says so however it ends.
pub(super) struct OwnTurn(Option<Held>);

struct Held {
    sharing: Arc<Sharing>,
    credentials: Arc<String>,
    holder: Token,
    round: u64,
    lasts: Duration,
}

/// Waits for a turn to log in, or refuses as the login of another replica was.
pub(super) async fn wait(upstream: &Upstream, sharing: &Arc<Sharing>) -> Result<Turn> {
    // A renewal that fails, and a login.
    let lasts = 2 * upstream.request_timeout + MARGIN;
    let gives_up = Instant::now() + 2 * lasts;
    let holder = Token(rand::random());
    let mut away_since = None;
    loop {
        match ask(upstream, sharing, holder, lasts).await {
            Some(Ok(turn)) => return Ok(Turn::Own(turn)),
            Some(Err(Busy::Refused(error))) => return Err(error),
            Some(Err(Busy::Until(left))) if Instant::now() < gives_up => {
                sleep(left.min(ASKS_EVERY)).await;
            }
            Some(Err(Busy::Until(left))) => {
                let what = "other replicas of the gateway are logging in; nothing was sent";
                let left = Retry::After(Some(whole_seconds(left)));
                return Err(Error::new(Reason::UpstreamUnavailable, what).with_retry(left));
            }
            None => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= AWAY_AFTER {
                    return alone(upstream).map(|()| Turn::Alone);
                }
                sleep(TRIES_EVERY).await;
            }
        }
    }
}

/// The one try of fixed credentials after a pause, if it is this one's turn.
pub(super) async fn trial(
    upstream: &Upstream,
    sharing: &Arc<Sharing>,
    lasts: Duration,
) -> Option<Result<OwnTurn>> {
    let asked = ask(upstream, sharing, Token(rand::random()), lasts).await?;
    Some(asked.map_err(|busy| match busy {
        Busy::Refused(error) => error,
        Busy::Until(left) => {
            let now = Instant::now();
            upstream.credentials.refusal_until(now + left, now)
        }
    }))
}

/// Why it is not this one's turn.
enum Busy {
    Until(Duration),
    Refused(Error),
}

async fn ask(
    upstream: &Upstream,
    sharing: &Arc<Sharing>,
    holder: Token,
    lasts: Duration,
) -> Option<Result<OwnTurn, Busy>> {
    let (own, now) = (&upstream.credentials, Instant::now());
    let (round, credentials, known) = (own.round(), sharing.credentials(), own.known_pause(now));
    let turn = sharing.replicas.login_turn((&credentials, holder), lasts, &known).await?;
    Some(match turn {
        LoginTurn::Go => {
            let sharing = Arc::clone(sharing);
            Ok(OwnTurn(Some(Held { sharing, credentials, holder, round, lasts })))
        }
        LoginTurn::Busy(left, known) => {
            // Why they were refused: what is known here may be of another time.
            own.take_over(&known, round, Instant::now());
            Err(Busy::Until(left))
        }
        LoginTurn::Paused(known) => Err(match own.take_over(&known, round, Instant::now()) {
            Some(error) => Busy::Refused(error),
            None => Busy::Until(TRIES_EVERY),
        }),
    })
}

impl OwnTurn {
    /// Says how the login has ended.
    pub(super) async fn end(self, upstream: &Upstream, result: &Result<Tokens>) {
        let end = match result {
            Ok(_) => LoginEnd::Accepted,
            Err(error) if error.facts().pauses_logins => LoginEnd::Refused(why(error, false)),
            Err(_) => LoginEnd::Other,
        };
        self.say(upstream, end, false).await;
    }

    /// Says what the upstream has answered to fixed credentials.
    pub(super) async fn end_of_fixed(self, upstream: &Upstream, end: LoginEnd, tokens: bool) {
        self.say(upstream, end, tokens).await;
    }

    async fn say(mut self, upstream: &Upstream, end: LoginEnd, tokens: bool) {
        let Some(held) = self.0.take() else { return };
        let round = held.round;
        if let Ok(Some(known)) = held.say(end, tokens).await {
            upstream.credentials.take_over(&known, round, Instant::now());
        }
    }
}

impl Drop for OwnTurn {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            drop(held.say(LoginEnd::Other, false));
        }
    }
}

impl Held {
    /// Says how the turn has ended, apart from the call, which may end meanwhile. Gives the answer,
    /// if the first try has one.
    fn say(self, end: LoginEnd, tokens: bool) -> oneshot::Receiver<Option<KnownLogins>> {
        let (tell, told) = oneshot::channel();
        let saying = async move {
            // The others wait for it, until the turn is over.
            let until = Instant::now() + self.lasts;
            let known = self.say_once(&end, tokens).await;
            let mut is_said = known.is_some();
            let _ = tell.send(known);
            while !is_said && Instant::now() < until {
                sleep(SAID_EVERY).await;
                is_said = self.say_once(&end, tokens).await.is_some();
            }
        };
        // Without it, nothing runs any more.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(saying);
        }
        told
    }

    async fn say_once(&self, end: &LoginEnd, tokens: bool) -> Option<KnownLogins> {
        let login = (self.credentials.as_str(), self.holder);
        self.sharing.replicas.login_done(login, end, spans(tokens)).await
    }
}

/// Whether to log in without asking others.
pub(super) fn alone(upstream: &Upstream) -> Result<()> {
    let replicas = upstream.pace.members();
    if upstream.credentials.may_be_used_alone(Instant::now(), replicas)? == Alone::Try {
        tracing::warn!(
            target: "upstream", backend = upstream.backend.as_str(),
            "the store that replicas share cannot be asked whether these credentials were refused: \
             they are tried once"
        );
    }
    Ok(())
}

/// Tells the other replicas of the pause that has begun here.
pub(super) async fn share_pause(upstream: &Upstream, tokens: bool) {
    let Some(sharing) = upstream.sharing.get() else { return };
    let round = upstream.credentials.round();
    let Some(pause) = upstream.credentials.known_pause(Instant::now()).pause else { return };
    let credentials = sharing.credentials();
    let login = (credentials.as_str(), Token(rand::random()));
    let known = sharing.replicas.login_pause(login, spans(tokens), &pause.why).await;
    if let Some(known) = known {
        upstream.credentials.take_over(&known, round, Instant::now());
    }
}

/// Tells them that it is over, if it is of this kind, or of any.
pub(super) async fn share_end(upstream: &Upstream, kind: Option<RefusedKind>) {
    let Some(sharing) = upstream.sharing.get() else { return };
    // Where it is not heard, it ends with its time.
    let _ = sharing.replicas.login_end(&sharing.credentials(), kind).await;
}

#[cfg(test)]
mod tests;

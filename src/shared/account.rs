//! What replicas share of one account of an upstream, over the connection of this replica.
//!
//! Nothing waits for a server that is away: each command says so at once without a connection, and
//! within its time otherwise.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use redis::{RedisResult, aio::MultiplexedConnection};

use super::{
    commands::{
        AskedWindow, Keys, KnownLogins, Login, LoginEnd, LoginScripts, LoginTurn, PauseSpans,
        RateScripts, RefusedKind, Reserve, Reserved, ReservedLogin, SharedRate, Throttled,
        WhyPaused,
    },
    connection::{COMMAND, Connections, Link},
    membership::Membership,
    protocol::Token,
};

/// How long what a request waits for may take.
const SOON: Duration = Duration::from_millis(50);

/// How often what concerns a login is said until it is answered: each can be said again.
const TRIES: usize = 3;

/// One account. Every answer is missing while the server is away.
pub struct SharedAccount {
    membership: Arc<Membership>,
    account: Arc<str>,
    logins: LoginScripts,
    rates: RateScripts,
}

impl fmt::Debug for SharedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAccount").field("account", &self.account).finish_non_exhaustive()
    }
}

impl SharedAccount {
    /// The account of this name, which is the same on all replicas.
    #[must_use]
    pub fn new(membership: Arc<Membership>, account: &str) -> Self {
        let (logins, rates) = (LoginScripts::default(), RateScripts::default());
        Self { membership, account: account.into(), logins, rates }
    }

    /// Whether the server can be asked now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.membership.is_up()
    }

    /// Whether this replica may log in, for so long at most; see [`LoginScripts::turn`].
    pub async fn login_turn(
        &self,
        login: Login<'_>,
        lasts: Duration,
        known: &KnownLogins,
    ) -> Option<LoginTurn> {
        let ask = |mut on| async move {
            self.logins.turn(&mut on, self.place(), login, lasts, known).await
        };
        self.repeated(ask).await
    }

    /// Says how a login ended; see [`LoginScripts::done`].
    pub async fn login_done(
        &self,
        login: Login<'_>,
        end: &LoginEnd,
        spans: PauseSpans,
    ) -> Option<KnownLogins> {
        let say = |mut on| async move {
            self.logins.done(&mut on, self.place(), login, end, spans).await
        };
        self.repeated(say).await
    }

    /// Pauses logins; see [`LoginScripts::pause`].
    pub async fn login_pause(
        &self,
        login: Login<'_>,
        spans: PauseSpans,
        why: &WhyPaused,
    ) -> Option<KnownLogins> {
        let say = |mut on| async move {
            self.logins.pause(&mut on, self.place(), login, spans, why).await
        };
        self.repeated(say).await
    }

    /// Ends a pause of logins; see [`LoginScripts::end`].
    pub async fn login_end(&self, credentials: &str, kind: Option<RefusedKind>) -> Option<bool> {
        let say =
            |mut on| async move { self.logins.end(&mut on, self.place(), credentials, kind).await };
        self.repeated(say).await
    }

    /// Reserves what there is room for; see [`RateScripts::reserve`].
    pub async fn reserve(&self, batch: &Reserve) -> Option<Reserved> {
        let token = Token(rand::random());
        let ask =
            |mut on| async move { self.rates.reserve(&mut on, self.place(), batch, token).await };
        self.within(SOON, ask).await
    }

    /// The same with more time, for a question that reserves nothing.
    pub async fn look(&self, batch: &Reserve) -> Option<Reserved> {
        let token = Token(rand::random());
        let ask =
            |mut on| async move { self.rates.reserve(&mut on, self.place(), batch, token).await };
        self.repeated(ask).await
    }

    /// Counts a login; see [`RateScripts::reserve_login`].
    pub async fn reserve_login(&self, windows: &[AskedWindow]) -> Option<ReservedLogin> {
        let token = Token(rand::random());
        let ask = |mut on| async move {
            self.rates.reserve_login(&mut on, self.place(), windows, token).await
        };
        self.within(COMMAND, ask).await
    }

    /// Records a 429; see [`RateScripts::throttled`].
    pub async fn throttled(&self, rate: Option<SharedRate>, pause: Throttled) -> Option<Duration> {
        let say =
            |mut on| async move { self.rates.throttled(&mut on, self.place(), rate, pause).await };
        self.within(COMMAND, say).await
    }

    /// Ends the pause that the upstream has asked for.
    pub async fn end_pause(&self) -> Option<bool> {
        let say = |mut on| async move { self.rates.end_pause(&mut on, self.place()).await };
        self.within(COMMAND, say).await
    }

    fn place(&self) -> (&Keys, &str) {
        (&self.membership.keys, &self.account)
    }

    async fn repeated<T, F>(&self, ask: impl Fn(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        for _ in 0..TRIES {
            let answer = self.within(COMMAND, &ask).await;
            if answer.is_some() || !self.is_up() {
                return answer;
            }
        }
        None
    }

    async fn within<T, F>(
        &self,
        time: Duration,
        ask: impl Fn(MultiplexedConnection) -> F,
    ) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let link = self.membership.link()?;
        // What fails is counted there, and the heartbeat says why.
        link.within(time, ask(link.connection())).await.ok()
    }
}

/// What replicas share, for another process, which changes nothing there.
pub struct Visitor {
    link: Link,
    keys: Keys,
    rates: RateScripts,
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").finish_non_exhaustive()
    }
}

impl Visitor {
    /// Over these connections.
    #[must_use]
    pub fn new(connections: &Connections, namespace: &str) -> Self {
        let (link, rates) = (connections.commands.clone(), RateScripts::default());
        Self { link, keys: Keys::new(namespace), rates }
    }

    /// What is known of an account, with a question that reserves nothing.
    pub async fn look(&self, account: &str, batch: &Reserve) -> Option<Reserved> {
        let (mut on, token) = (self.link.connection(), Token(rand::random()));
        let ask = self.rates.reserve(&mut on, (&self.keys, account), batch, token);
        self.link.within(COMMAND, ask).await.ok()
    }
}

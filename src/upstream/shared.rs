//! The other replicas, as far as they share one account: who logs in, and how many requests leave.

use std::time::Duration;

use async_trait::async_trait;

use crate::shared::{
    SharedAccount,
    commands::{
        AskedWindow, KnownLogins, LoginEnd, LoginTurn, PauseSpans, RefusedKind, Reserve, Reserved,
        ReservedLogin, SharedRate, Throttled, WhyPaused,
    },
    protocol::Token,
};

/// Asks what all replicas know. No answer comes while the server is away, and otherwise it comes
/// within moments.
#[async_trait]
pub trait Replicas: Send + Sync {
    /// Whether they can be asked now.
    fn is_up(&self) -> bool;

    /// Whether this replica may log in with these credentials, for so long at most. `known` is the
    /// pause that it knows of.
    async fn login_turn(
        &self,
        login: (&str, Token),
        lasts: Duration,
        known: &KnownLogins,
    ) -> Option<LoginTurn>;

    /// Says how that has ended.
    async fn login_done(
        &self,
        login: (&str, Token),
        end: &LoginEnd,
        spans: PauseSpans,
    ) -> Option<KnownLogins>;

    /// Pauses the logins with these credentials.
    async fn login_pause(
        &self,
        login: (&str, Token),
        spans: PauseSpans,
        why: &WhyPaused,
    ) -> Option<KnownLogins>;

    /// Ends that pause, if it is of this kind, or of any. Whether there was one.
    async fn login_end(&self, credentials: &str, kind: Option<RefusedKind>) -> Option<bool>;

    /// Reserves requests.
    async fn reserve(&self, batch: &Reserve) -> Option<Reserved>;

    /// The same for none: what is known, if that may take longer.
    async fn look(&self, batch: &Reserve) -> Option<Reserved>;

    /// Counts a login.
    async fn reserve_login(&self, windows: &[AskedWindow]) -> Option<ReservedLogin>;

    /// Says that the upstream asks for a pause.
    async fn throttled(&self, rate: Option<SharedRate>, pause: Throttled) -> Option<Duration>;

    /// Ends that pause. Whether there was one.
    async fn end_pause(&self) -> Option<bool>;
}

#[async_trait]
impl Replicas for SharedAccount {
    fn is_up(&self) -> bool {
        self.is_up()
    }

    async fn login_turn(
        &self,
        login: (&str, Token),
        lasts: Duration,
        known: &KnownLogins,
    ) -> Option<LoginTurn> {
        self.login_turn(login, lasts, known).await
    }

    async fn login_done(
        &self,
        login: (&str, Token),
        end: &LoginEnd,
        spans: PauseSpans,
    ) -> Option<KnownLogins> {
        self.login_done(login, end, spans).await
    }

    async fn login_pause(
        &self,
        login: (&str, Token),
        spans: PauseSpans,
        why: &WhyPaused,
    ) -> Option<KnownLogins> {
        self.login_pause(login, spans, why).await
    }

    async fn login_end(&self, credentials: &str, kind: Option<RefusedKind>) -> Option<bool> {
        self.login_end(credentials, kind).await
    }

    async fn reserve(&self, batch: &Reserve) -> Option<Reserved> {
        self.reserve(batch).await
    }

    async fn look(&self, batch: &Reserve) -> Option<Reserved> {
        self.look(batch).await
    }

    async fn reserve_login(&self, windows: &[AskedWindow]) -> Option<ReservedLogin> {
        self.reserve_login(windows).await
    }

    async fn throttled(&self, rate: Option<SharedRate>, pause: Throttled) -> Option<Duration> {
        self.throttled(rate, pause).await
    }

    async fn end_pause(&self) -> Option<bool> {
        self.end_pause().await
    }
}

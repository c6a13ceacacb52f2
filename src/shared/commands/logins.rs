//! The logins of one account of an upstream, which replicas take turns at, and the pause after
//! credentials were refused. The turn is that of the account, and a pause that of the credentials:
//! replicas may have others, as while a password is replaced.
//!
//! These need no epoch: what the server loses of them costs a login too many at most, and a replica
//! that knows of a pause tells it again.

use std::time::Duration;

use redis::{RedisError, Script, Value, aio::ConnectionLike};

use super::{
    answers::{Words, run},
    arguments::millis,
    clock::CLOCK,
    keys::Keys,
};
use crate::shared::protocol::Token;

/// The longest text about a refusal that is shared, in bytes.
const LONGEST: usize = 16 * 1024;

/// The scripts.
#[derive(Debug)]
pub struct LoginScripts {
    turn: Script,
    done: Script,
    pause: Script,
    end: Script,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// The credentials.
    Credentials,
    /// The tokens that they gave.
    Tokens,
}

/// Why logins pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhyPaused {
    /// What was refused.
    pub kind: RefusedKind,
    /// The number of an `ErrorReason`.
    pub reason: i32,
    /// What the one that was refused tells the others, in a form of theirs.
    pub told: String,
}

/// How long logins pause: so long after the first refusal, and twice as long after each further
/// one in a row, up to the longest.
#[derive(Debug, Clone, Copy)]
pub struct PauseSpans {
    /// The first.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

/// A pause of logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginPause {
    /// What is left of it. It is over with none, and then one login tries.
    pub left: Duration,
    /// All of it.
    pub span: Duration,
    /// Why.
    pub why: WhyPaused,
}

/// What the server knows of the logins with these credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownLogins {
    /// Tells what it knows from what it has lost.
    pub began: String,
    /// The pause, if there is one.
    pub pause: Option<LoginPause>,
}

/// Whether a replica may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginTurn {
    /// It may, and says later how it ended.
    Go,
    /// Another replica logs in, for so long at most. If it tries credentials that were refused,
    /// their pause is known, and over.
    Busy(Duration, KnownLogins),
    /// These credentials were refused.
    Paused(KnownLogins),
}

/// How a login ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginEnd {
    /// There are tokens.
    Accepted,
    /// The credentials were refused.
    Refused(WhyPaused),
    /// Neither: the upstream could not be reached, or was busy.
    Other,
}

/// Who asks: the keyed hash of the credentials, and the turn.
pub type Login<'l> = (&'l str, Token);

impl Default for LoginScripts {
    fn default() -> Self {
        Self::with_clock(CLOCK)
    }
}

impl LoginScripts {
    /// Those that ask this function for the time.
    pub(super) fn with_clock(clock: &str) -> Self {
        let refused = include_str!("../scripts/refused.lua");
        let script = |body: &str| Script::new(&format!("{clock}{refused}{body}"));
        Self {
            turn: script(include_str!("../scripts/login_turn.lua")),
            done: script(include_str!("../scripts/login_done.lua")),
            pause: script(include_str!("../scripts/login_pause.lua")),
            end: script(include_str!("../scripts/login_end.lua")),
        }
    }

    /// Asks whether a replica may log in to an account, which takes so long at most. `known` is
    /// the pause that it knows of itself: if the server has lost it, it is told again.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails: it is to be asked again.
    pub async fn turn(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        (credentials, holder): Login<'_>,
        lasts: Duration,
        known: &KnownLogins,
    ) -> Result<LoginTurn, RedisError> {
        let mut call = self.turn.prepare_invoke();
        call.key(keys.of("login", account)).key(keys.of_credentials(account, credentials));
        call.arg(holder.0).arg(millis(lasts)).arg(&known.began);
        match &known.pause {
            Some(pause) => {
                call.arg(millis(pause.left)).arg(millis(pause.span));
                add(&mut call, &pause.why);
            }
            None => {
                call.arg(0);
            }
        }
        let (first, mut words) = run(&call, connection).await?;
        Ok(match first.as_str() {
            "GO" => LoginTurn::Go,
            "BUSY" => LoginTurn::Busy(words.millis()?, logins(words.next()?)?),
            _ => LoginTurn::Paused(logins(words.next()?)?),
        })
    }

    /// Says how a login ended. Gives what is known then.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails: it is to be said again.
    pub async fn done(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        (credentials, holder): Login<'_>,
        end: &LoginEnd,
        spans: PauseSpans,
    ) -> Result<KnownLogins, RedisError> {
        let mut call = self.done.prepare_invoke();
        call.key(keys.of("login", account)).key(keys.of_credentials(account, credentials));
        call.arg(holder.0);
        call.arg(match end {
            LoginEnd::Accepted => "accepted",
            LoginEnd::Refused(_) => "refused",
            LoginEnd::Other => "other",
        });
        if let LoginEnd::Refused(why) = end {
            call.arg(millis(spans.first)).arg(millis(spans.longest));
            add(&mut call, why);
        }
        let (_, mut words) = run(&call, connection).await?;
        logins(words.next()?)
    }

    /// Pauses the logins of these credentials, unless they pause already. Gives what is known then.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub async fn pause(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        (credentials, token): Login<'_>,
        spans: PauseSpans,
        why: &WhyPaused,
    ) -> Result<KnownLogins, RedisError> {
        let mut call = self.pause.prepare_invoke();
        call.key(keys.of_credentials(account, credentials)).arg(token.0);
        call.arg(millis(spans.first)).arg(millis(spans.longest));
        add(&mut call, why);
        let (_, mut words) = run(&call, connection).await?;
        logins(words.next()?)
    }

    /// Ends the pause of these credentials, if it is of this kind, or of any. Gives whether there
    /// was one.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub async fn end(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        credentials: &str,
        kind: Option<RefusedKind>,
    ) -> Result<bool, RedisError> {
        let mut call = self.end.prepare_invoke();
        call.key(keys.of_credentials(account, credentials));
        call.arg(kind.map_or("", RefusedKind::name));
        run(&call, connection).await?.1.next()
    }
}

impl RefusedKind {
    fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Tokens => "tokens",
        }
    }
}

fn add(call: &mut redis::ScriptInvocation<'_>, why: &WhyPaused) {
    let told = Some(why.told.as_str()).filter(|told| told.len() <= LONGEST);
    call.arg(why.kind.name()).arg(why.reason).arg(told.unwrap_or_default());
}

/// What the scripts tell of logins.
pub(super) fn logins(told: Value) -> Result<KnownLogins, RedisError> {
    let mut words = Words::of(told)?;
    let began = words.next()?;
    if words.is_over() {
        return Ok(KnownLogins { began, pause: None });
    }
    let (left, span) = (words.millis()?, words.millis()?);
    let kind = match words.next::<String>()?.as_str() {
        "tokens" => RefusedKind::Tokens,
        _ => RefusedKind::Credentials,
    };
    let why = WhyPaused { kind, reason: words.next()?, told: words.next()? };
    Ok(KnownLogins { began, pause: Some(LoginPause { left, span, why }) })
}

//! What replicas share of one account of an upstream: its logins, and the rate of its requests.
//!
//! These need no epoch: what the server loses of them costs a login or a few requests too many.

use std::time::Duration;

use redis::{RedisError, Script, ScriptInvocation, aio::ConnectionLike};

use super::{answers::Words, arguments::millis, clock::CLOCK, keys::Keys};
use crate::shared::protocol::Token;

/// The scripts.
#[derive(Debug)]
pub struct AccountScripts {
    login_turn: Script,
    login_done: Script,
    login_pause: Script,
    reserve: Script,
    throttled: Script,
}

/// How logins are limited.
#[derive(Debug, Clone, Copy)]
pub struct LoginLimits {
    /// How long one login may take, until another replica may try.
    pub lasts: Duration,
    /// How many there may be within a window.
    pub most: u32,
    /// The window.
    pub window: Duration,
    /// The pause after a refused login. It doubles with each in a row.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

/// Whether a replica may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginTurn {
    /// It may, and says later how it ended.
    Go,
    /// Another replica logs in, for so long at most.
    Busy(Duration),
    /// These credentials were refused, or there were too many logins: for so long.
    Paused(Duration),
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginEnd {
    /// There are tokens.
    Accepted,
    /// The credentials were refused.
    Refused,
    /// Neither: the upstream could not be reached, or was busy.
    Other,
}

/// The rate of an account.
#[derive(Debug, Clone, Copy)]
pub struct SharedRate {
    /// Requests per second.
    pub per_second: u32,
    /// Requests that may be sent at once.
    pub burst: u32,
}

/// Whether requests may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The first may be sent after `first`, and each later one `interval` before the next, so that
    /// the last is sent after `last`.
    Reserved {
        /// When the first may be sent.
        first: Duration,
        /// When the last may be sent.
        last: Duration,
        /// The time between two of them, once there is no room in the burst.
        interval: Duration,
    },
    /// The last would have to wait so long. Nothing is reserved.
    Late(Duration),
    /// The same, because of a pause that the upstream asked for.
    Paused(Duration),
}

impl Default for AccountScripts {
    fn default() -> Self {
        Self::with_clock(CLOCK)
    }
}

impl AccountScripts {
    /// Those that ask this function for the time.
    pub(super) fn with_clock(clock: &str) -> Self {
        let script = |body: &str| Script::new(&format!("{clock}{body}"));
        let rate = |body: &str| script(&format!("{}{body}", include_str!("../scripts/rate.lua")));
        Self {
            login_turn: script(include_str!("../scripts/login_turn.lua")),
            login_done: script(include_str!("../scripts/login_done.lua")),
            login_pause: script(include_str!("../scripts/login_pause.lua")),
            reserve: rate(include_str!("../scripts/reserve.lua")),
            throttled: rate(include_str!("../scripts/throttled.lua")),
        }
    }

    /// Asks whether a replica may log in to an account. `credentials` is a keyed hash.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub async fn login_turn(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        (credentials, holder): (&str, Token),
        limits: &LoginLimits,
    ) -> Result<LoginTurn, RedisError> {
        let mut call = self.login_turn.prepare_invoke();
        call.key(keys.of("login", account)).arg(credentials).arg(holder.0);
        call.arg(millis(limits.lasts)).arg(limits.most).arg(millis(limits.window));
        let (first, mut words) = run(&call, connection).await?;
        Ok(match first.as_str() {
            "GO" => LoginTurn::Go,
            "BUSY" => LoginTurn::Busy(words.millis()?),
            _ => LoginTurn::Paused(words.millis()?),
        })
    }

    /// Says how a login ended.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails: it is to be said again.
    pub async fn login_done(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        (credentials, holder): (&str, Token),
        end: LoginEnd,
        limits: &LoginLimits,
    ) -> Result<(), RedisError> {
        let mut call = self.login_done.prepare_invoke();
        call.key(keys.of("login", account)).arg(credentials).arg(holder.0);
        call.arg(match end {
            LoginEnd::Accepted => "accepted",
            LoginEnd::Refused => "refused",
            LoginEnd::Other => "other",
        });
        call.arg(millis(limits.first_pause)).arg(millis(limits.longest_pause));
        run(&call, connection).await.map(drop)
    }

    /// Pauses the logins of these credentials, at least so long.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub async fn login_pause(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        credentials: &str,
        span: Duration,
    ) -> Result<(), RedisError> {
        let mut call = self.login_pause.prepare_invoke();
        call.key(keys.of("login", account)).arg(credentials).arg(millis(span));
        run(&call, connection).await.map(drop)
    }

    /// Reserves so many requests, if the last of them need not wait longer than this.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails: they may be reserved.
    pub async fn reserve(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        rate: SharedRate,
        requests: u32,
        longest_wait: Duration,
    ) -> Result<Reserved, RedisError> {
        let mut call = self.reserve.prepare_invoke();
        call.key(keys.of("rate", account)).arg(rate.per_second).arg(rate.burst);
        call.arg(requests).arg(millis(longest_wait));
        let (first, mut words) = run(&call, connection).await?;
        Ok(match first.as_str() {
            "RESERVED" => Reserved::Reserved {
                first: words.millis()?,
                last: words.millis()?,
                interval: Duration::from_micros(words.next()?),
            },
            "PAUSED" => Reserved::Paused(words.millis()?),
            _ => Reserved::Late(words.millis()?),
        })
    }

    /// Records a 429 that asks for a pause. Returns how long all requests wait now.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub async fn throttled(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        rate: SharedRate,
        pause: Duration,
    ) -> Result<Duration, RedisError> {
        let mut call = self.throttled.prepare_invoke();
        call.key(keys.of("rate", account)).arg(rate.per_second).arg(millis(pause));
        let (_, mut words) = run(&call, connection).await?;
        words.millis()
    }
}

async fn run(
    call: &ScriptInvocation<'_>,
    connection: &mut impl ConnectionLike,
) -> Result<(String, Words), RedisError> {
    let mut words = Words::of(call.invoke_async(connection).await?)?;
    Ok((words.next()?, words))
}

//! The rate and the windows of the requests to one account of an upstream.
//!
//! These need no epoch either. What the server loses of the windows, replicas tell again that know
//! of it; a lost rate begins full.

use std::time::Duration;

use redis::{RedisError, Script, ScriptInvocation, Value, aio::ConnectionLike};

use super::{
    answers::{Words, run, run_to_words},
    arguments::millis,
    clock::CLOCK,
    keys::Keys,
    logins,
};
use crate::shared::protocol::Token;

/// The parts of a window.
const PARTS: u32 = 60;

/// The scripts.
#[derive(Debug)]
pub struct RateScripts {
    reserve: Script,
    reserve_login: Script,
    throttled: Script,
    end_pause: Script,
}

/// The rate of an account.
#[derive(Debug, Clone, Copy)]
pub struct SharedRate {
    /// Requests per second.
    pub per_second: u32,
    /// Requests that may be sent at once.
    pub burst: u32,
}

/// A window of a vendor's limits, and what a replica knows of it.
#[derive(Debug, Clone, Default)]
pub struct AskedWindow {
    /// Tells it from others of the account.
    pub name: &'static str,
    /// The most requests within it.
    pub limit: u32,
    /// How long it is.
    pub length: Duration,
    /// Which counts the replica knows.
    pub began: String,
    /// How many requests it knows of, if the server has other counts.
    pub least: u32,
    /// How many it has sent without asking.
    pub alone: u32,
}

/// What the server knows of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownWindow {
    /// Tells what it knows from what it has lost.
    pub began: String,
    /// How long ago the current sixtieth began.
    pub into: Duration,
    /// Of each sixtieth in which there were any: how many came after it, and the requests.
    pub counts: Vec<(u64, u32)>,
}

/// A batch of requests that wait.
#[derive(Debug, Clone, Default)]
pub struct Reserve {
    /// The rate, if there is one.
    pub rate: Option<SharedRate>,
    /// Nothing is reserved that would have to wait longer.
    pub horizon: Duration,
    /// How many requests this replica has sent without asking.
    pub alone: u32,
    /// The keyed hash of the credentials that they carry.
    pub credentials: String,
    /// How many of each class, the most important one first.
    pub wanted: [u32; 4],
    /// The windows.
    pub windows: Vec<AskedWindow>,
}

/// What a request waits for that was not reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The rate.
    Rate,
    /// The pause that the upstream has asked for.
    Pause,
    /// One of the windows, by its place.
    Window(usize),
}

/// A pause that the upstream has asked for with a 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// How long it is from now on.
    pub pause: Duration,
    /// How many there were in a row.
    pub strikes: u32,
    /// It was told before, and the server may have lost it.
    pub again: bool,
}

/// What was reserved, and what is known of the account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reserved {
    /// How many may be sent, those of the first classes first.
    pub granted: u32,
    /// When the first may be sent.
    pub first: Duration,
    /// When the last may be sent.
    pub last: Duration,
    /// The time between two of them, once there is no room in the burst.
    pub interval: Duration,
    /// Why the next one may not be sent, and how long it waits.
    pub stopped: Option<(Stopped, Duration)>,
    /// How many replicas there are.
    pub members: u32,
    /// What is left of the pause that the upstream has asked for.
    pub pause: Duration,
    /// How many such pauses there were in a row.
    pub strikes: u32,
    /// How often operators have ended one.
    pub ends: u64,
    /// The requests per second now, if they are limited.
    pub rate: f64,
    /// What is known of the logins with these credentials.
    pub logins: logins::KnownLogins,
    /// The windows.
    pub windows: Vec<KnownWindow>,
}

/// Whether a login may be sent now, and what is known of the windows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservedLogin {
    /// The window without room, and how long it has none.
    pub stopped: Option<(usize, Duration)>,
    /// The windows.
    pub windows: Vec<KnownWindow>,
}

impl Default for RateScripts {
    fn default() -> Self {
        Self::with_clock(CLOCK)
    }
}

impl RateScripts {
    /// Those that ask this function for the time.
    pub(super) fn with_clock(clock: &str) -> Self {
        let rate =
            concat!(include_str!("../scripts/refused.lua"), include_str!("../scripts/rate.lua"));
        let windows = include_str!("../scripts/windows.lua");
        let script = |parts: &[&str]| Script::new(&format!("{clock}{}", parts.concat()));
        Self {
            reserve: script(&[rate, windows, include_str!("../scripts/reserve.lua")]),
            reserve_login: script(&[
                "local time = now()\n",
                windows,
                include_str!("../scripts/reserve_login.lua"),
            ]),
            throttled: script(&[rate, include_str!("../scripts/throttled.lua")]),
            end_pause: script(&[rate, include_str!("../scripts/end_pause.lua")]),
        }
    }

    /// Reserves what there is room for.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails: they may be reserved.
    pub async fn reserve(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        batch: &Reserve,
        token: Token,
    ) -> Result<Reserved, RedisError> {
        let mut call = self.reserve.prepare_invoke();
        let [.., members] = keys.common();
        call.key(keys.of("rate", account)).key(members);
        call.key(keys.of_credentials(account, &batch.credentials));
        add_rate(&mut call, batch.rate);
        call.arg(millis(batch.horizon)).arg(batch.alone).arg(token.0);
        for wanted in batch.wanted {
            call.arg(wanted);
        }
        add_windows(&mut call, (keys, account), &batch.windows);
        read(&mut run_to_words(&call, connection).await?)
    }

    /// Counts a login, if all windows have room for it.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails: it may be counted.
    pub async fn reserve_login(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
        windows: &[AskedWindow],
        token: Token,
    ) -> Result<ReservedLogin, RedisError> {
        let mut call = self.reserve_login.prepare_invoke();
        call.arg(token.0);
        add_windows(&mut call, (keys, account), windows);
        let mut words = run_to_words(&call, connection).await?;
        let (place, wait): (usize, _) = (words.next()?, words.millis()?);
        let stopped = place.checked_sub(1).map(|place| (place, wait));
        Ok(ReservedLogin { stopped, windows: known(&mut words)? })
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
        rate: Option<SharedRate>,
        Throttled { pause, strikes, again }: Throttled,
    ) -> Result<Duration, RedisError> {
        let mut call = self.throttled.prepare_invoke();
        call.key(keys.of("rate", account));
        call.arg(rate.map_or(0, |rate| rate.per_second)).arg(millis(pause)).arg(strikes);
        call.arg(u8::from(again));
        run(&call, connection).await?.1.millis()
    }

    /// Ends the pause that the upstream has asked for. Gives whether there was one.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub async fn end_pause(
        &self,
        connection: &mut impl ConnectionLike,
        (keys, account): (&Keys, &str),
    ) -> Result<bool, RedisError> {
        let mut call = self.end_pause.prepare_invoke();
        call.key(keys.of("rate", account)).arg(0);
        run(&call, connection).await?.1.next()
    }
}

fn add_rate(call: &mut ScriptInvocation<'_>, rate: Option<SharedRate>) {
    let (full, burst) = rate.map_or((0, 0), |rate| (rate.per_second, rate.burst));
    call.arg(full).arg(burst);
}

fn add_windows(
    call: &mut ScriptInvocation<'_>,
    (keys, account): (&Keys, &str),
    windows: &[AskedWindow],
) {
    for window in windows {
        // The counts of another length say little of this one.
        let (name, length) = (window.name, window.length.as_millis());
        call.key(keys.of("window", &format!("{account}/{name}/{length}")));
        let part = window.length.as_secs_f64() * 1000.0 / f64::from(PARTS);
        call.arg(window.limit).arg(part).arg(&window.began).arg(window.least).arg(window.alone);
    }
}

fn read(words: &mut Words) -> Result<Reserved, RedisError> {
    let granted = words.next()?;
    let (first, last) = (words.millis()?, words.millis()?);
    let interval = Duration::from_micros(words.next()?);
    let (why, wait): (String, _) = (words.next()?, words.millis()?);
    let stopped = match why.as_str() {
        "" => None,
        "RATE" => Some(Stopped::Rate),
        "PAUSE" => Some(Stopped::Pause),
        window => {
            let place = window.strip_prefix("WINDOW").and_then(|place| place.parse().ok());
            place.and_then(|place: usize| place.checked_sub(1)).map(Stopped::Window)
        }
    };
    Ok(Reserved {
        granted,
        first,
        last,
        interval,
        stopped: stopped.map(|stopped| (stopped, wait)),
        members: words.next()?,
        pause: words.millis()?,
        strikes: words.next()?,
        ends: words.next()?,
        rate: words.next::<f64>()? / 1000.0,
        logins: logins::logins(words.next()?)?,
        windows: known(words)?,
    })
}

fn known(words: &mut Words) -> Result<Vec<KnownWindow>, RedisError> {
    let windows: Vec<Value> = words.next()?;
    let window = |told| {
        let mut words = Words::of(told)?;
        let (began, into) = (words.next()?, words.millis()?);
        let counts: Vec<u64> = words.next()?;
        let counts = counts.chunks_exact(2).filter_map(|pair| {
            Some((*pair.first()?, u32::try_from(*pair.last()?).unwrap_or(u32::MAX)))
        });
        Ok(KnownWindow { began, into, counts: counts.collect() })
    };
    windows.into_iter().map(window).collect()
}

//! The commands as scripts of the server. Each runs as a whole or not at all, and refuses in
//! another epoch.
//!
//! All keys of a namespace have one hash tag, so that a script touches one slot.

mod answers;
mod arguments;
mod clock;
mod keys;
mod log;
mod logins;
mod rate;
mod rights;
#[cfg(test)]
mod tests;

use redis::{RedisError, Script, aio::ConnectionLike};

pub(super) use self::{
    answers::{Words, unexpected},
    arguments::millis,
    clock::CLOCK,
};
pub use self::{
    keys::Keys,
    log::{LogRead, read_log},
    logins::{
        KnownLogins, Login, LoginEnd, LoginPause, LoginScripts, LoginTurn, PauseSpans, RefusedKind,
        WhyPaused,
    },
    rate::{
        AskedWindow, KnownWindow, RateScripts, Reserve, Reserved, ReservedLogin, SharedRate,
        Stopped, Throttled,
    },
    rights::{try_log, try_scripts, try_wait},
};
use super::protocol::{Answer, Command, EpochId, Refused};

pub(super) const PRELUDE: &str = include_str!("../scripts/prelude.lua");

/// The scripts.
#[derive(Debug)]
pub struct Scripts {
    join: Script,
    renew: Script,
    members: Script,
    count: Script,
    evict: Script,
    begin: Script,
    take_turn: Script,
    open: Script,
    close: Script,
    purge: Script,
    restore: Script,
    adopt: Script,
    settled: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self::with_clock(CLOCK)
    }
}

impl Scripts {
    /// Those that ask this function for the time.
    pub(in crate::shared) fn with_clock(clock: &str) -> Self {
        let script = |body: &str| Script::new(&format!("{clock}{PRELUDE}{body}"));
        Self {
            join: script(include_str!("../scripts/join.lua")),
            renew: script(include_str!("../scripts/renew.lua")),
            members: script(include_str!("../scripts/members.lua")),
            count: script(include_str!("../scripts/count.lua")),
            evict: script(include_str!("../scripts/evict.lua")),
            begin: script(include_str!("../scripts/begin.lua")),
            take_turn: script(include_str!("../scripts/take_turn.lua")),
            open: script(include_str!("../scripts/open.lua")),
            close: script(include_str!("../scripts/close.lua")),
            purge: script(include_str!("../scripts/purge.lua")),
            restore: script(include_str!("../scripts/restore.lua")),
            adopt: script(include_str!("../scripts/adopt.lua")),
            settled: script(include_str!("../scripts/settled.lua")),
        }
    }

    /// Carries out a command in the epoch of the replica.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails: the command may have been carried out, or may be yet.
    pub async fn run(
        &self,
        connection: &mut impl ConnectionLike,
        keys: &Keys,
        epoch: Option<&EpochId>,
        command: &Command,
    ) -> Result<Result<Answer, Refused>, RedisError> {
        let mut call = self.script(command).prepare_invoke();
        arguments::add(&mut call, keys, epoch, command);
        answers::read(command, call.invoke_async(connection).await?)
    }

    fn script(&self, command: &Command) -> &Script {
        match command {
            Command::Join(_) => &self.join,
            Command::Renew { .. } => &self.renew,
            Command::Members { .. } => &self.members,
            Command::Count => &self.count,
            Command::Evict { .. } => &self.evict,
            Command::Begin(_) => &self.begin,
            Command::TakeTurn(_) => &self.take_turn,
            Command::Open(_) => &self.open,
            Command::Close(_) => &self.close,
            Command::Purge { .. } => &self.purge,
            Command::Restore(_) => &self.restore,
            Command::Adopt(_) => &self.adopt,
            Command::Settled { .. } => &self.settled,
        }
    }
}

//! What the scripts answer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{
    ErrorKind, FromRedisValue, RedisError, ScriptInvocation, Value, aio::ConnectionLike,
    from_redis_value,
};

use crate::shared::protocol::{
    Answer, Begun, Closed, Command, ENDED_AFTER, Joined, LeftOpen, LeftRequest, Members, Opened,
    Refused, Renewal, Restored, Session, Token, TurnTaken, WriteId,
};

type Result<T> = std::result::Result<T, RedisError>;

/// An answer, word by word.
pub(in crate::shared) struct Words(std::vec::IntoIter<Value>);

impl Words {
    pub(in crate::shared) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(words) => Ok(Self(words.into_iter())),
            _ => Err(unexpected()),
        }
    }

    pub(in crate::shared) fn next<T: FromRedisValue>(&mut self) -> Result<T> {
        let word = self.0.next().ok_or_else(unexpected)?;
        from_redis_value(word).map_err(|_| unexpected())
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.len() == 0
    }

    pub(in crate::shared) fn millis(&mut self) -> Result<Duration> {
        self.next().map(Duration::from_millis)
    }

    fn bytes(&mut self) -> Result<Arc<[u8]>> {
        self.next::<Vec<u8>>().map(Into::into)
    }

    fn members(&mut self) -> Result<Members> {
        let pairs: Vec<u64> = self.next()?;
        let pairs = pairs.chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.last()?)));
        Ok(pairs.map(|(session, applied)| (Session(*session), *applied)).collect())
    }
}

/// What was answered tells no one anything, and may be long.
pub(in crate::shared) fn unexpected() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "a script gave an unexpected answer").into()
}

pub(super) fn read(
    command: &Command,
    value: Value,
) -> Result<std::result::Result<Answer, Refused>> {
    let mut words = Words::of(value)?;
    let first: String = words.next()?;
    match first.as_str() {
        "EPOCH" => return Ok(Err(Refused::Epoch)),
        "DEMOTED" => return Ok(Err(Refused::Demoted)),
        _ => {}
    }
    let answer = match command {
        Command::Join(_) => Answer::Joined(joined(&mut words)?),
        Command::Renew { .. } => Answer::Renewal(renewal(&first, &mut words)?),
        Command::Members { .. } => Answer::Members(words.members()?),
        Command::Count => Answer::Counted { alive: counted(&mut words)? },
        Command::Evict { .. } => Answer::Evicted,
        Command::Begin(_) => Answer::Begun(begun(&first, &mut words)?),
        Command::TakeTurn(_) => Answer::TurnTaken(turn_taken(&first, &mut words)?),
        Command::Open(_) => Answer::Opened(match first.as_str() {
            "OPENED" => Opened::Opened,
            "LOST" => Opened::Lost,
            _ => return Err(unexpected()),
        }),
        Command::Close(_) | Command::Purge { .. } => Answer::Closed(closed(&mut words)?),
        Command::Restore(_) => {
            Answer::Restored(Restored { has_turn: words.next()?, has_record: words.next()? })
        }
        Command::Adopt(_) => Answer::Adopted(adopted(&mut words)?),
        Command::Settled { .. } => Answer::Settled(words.next()?),
    };
    Ok(Ok(answer))
}

/// What was taken over of a process that has ended leaves no sign of its life.
fn counted(words: &mut Words) -> Result<u64> {
    let members = words.members()?;
    let alive: HashMap<u32, u64> = words.next()?;
    let now = words.millis()?;
    let has_ended = |session: &&Session| {
        let last = alive.get(&session.process().number());
        last.is_none_or(|last| now >= Duration::from_millis(*last) + ENDED_AFTER)
    };
    let alive = members.keys().filter(|session| !has_ended(session)).count();
    Ok(alive.try_into().unwrap_or(u64::MAX))
}

fn joined(words: &mut Words) -> Result<Joined> {
    let (epoch, tail): (String, u64) = (words.next()?, words.next()?);
    let open: Vec<Value> = words.next()?;
    let open = open.into_iter().map(|left| {
        let mut words = Words::of(left)?;
        let (write, target): (u64, String) = (words.next()?, words.next()?);
        Ok(LeftOpen { write: WriteId(write), target: target.into(), left: words.millis()? })
    });
    let mut open = open.collect::<Result<Vec<_>>>()?;
    open.sort_by_key(|left| left.write);
    Ok(Joined { epoch: epoch.into(), tail, open })
}

fn adopted(words: &mut Words) -> Result<Vec<LeftRequest>> {
    let left: Vec<Value> = words.next()?;
    let left = left.into_iter().map(|left| {
        let mut words = Words::of(left)?;
        let request: String = words.next()?;
        let (intent, ended, sender) = (words.bytes()?, words.millis()?, words.next::<String>()?);
        Ok(LeftRequest {
            request: request.into(),
            intent,
            ended,
            sender: sender.parse().ok().map(Token),
            was_running: words.next()?,
        })
    });
    let mut left = left.collect::<Result<Vec<_>>>()?;
    left.sort_by(|one, other| one.request.cmp(&other.request));
    Ok(left)
}

fn renewal(first: &str, words: &mut Words) -> Result<Renewal> {
    match first {
        "VALID" => Ok(Renewal::Valid),
        "GONE" => Ok(Renewal::Gone),
        "BEHIND" => Ok(Renewal::Behind { tail: words.next()? }),
        _ => Err(unexpected()),
    }
}

fn begun(first: &str, words: &mut Words) -> Result<Begun> {
    Ok(match first {
        "FRESH" => Begun::Fresh { generation: words.next()?, is_denied: words.next()? },
        "REUSED" => Begun::Reused,
        "GRACE" => Begun::Grace { left: words.millis()? },
        "RUNNING" => Begun::Running { left: words.millis()? },
        "UNKNOWN" => Begun::Unknown {
            generation: words.next()?,
            intent: words.bytes()?,
            ended: words.millis()?,
        },
        "DONE" => Begun::Done { result: words.bytes()?, closed: closed(words)? },
        _ => return Err(unexpected()),
    })
}

fn closed(words: &mut Words) -> Result<Closed> {
    let (epoch, number): (String, _) = (words.next()?, words.next()?);
    let (members, was_mine) = (words.members()?, words.next()?);
    Ok(Closed { epoch: epoch.into(), number, members, was_mine })
}

fn turn_taken(first: &str, words: &mut Words) -> Result<TurnTaken> {
    Ok(match first {
        "TAKEN" => TurnTaken::Taken,
        "HELD" => TurnTaken::Held { left: words.millis()? },
        "GRACE" => TurnTaken::Grace { left: words.millis()? },
        _ => return Err(unexpected()),
    })
}

/// Runs a script whose answer begins with its kind.
pub(super) async fn run(
    call: &ScriptInvocation<'_>,
    connection: &mut impl ConnectionLike,
) -> Result<(String, Words)> {
    let mut words = run_to_words(call, connection).await?;
    Ok((words.next()?, words))
}

pub(super) async fn run_to_words(
    call: &ScriptInvocation<'_>,
    connection: &mut impl ConnectionLike,
) -> Result<Words> {
    Words::of(call.invoke_async(connection).await?)
}

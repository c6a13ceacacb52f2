//! Reads the log.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{
    AsyncCommands, RedisError, Value,
    aio::ConnectionLike,
    from_redis_value,
    streams::{StreamId, StreamReadOptions, StreamReadReply},
};

use super::keys::Keys;
use crate::shared::protocol::{Entry, EntryKind, Target, WriteId};

/// What was read of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    /// In order.
    pub entries: Vec<Entry>,
    /// When the last of them was written, on the clock of the server.
    pub written: Option<Duration>,
}

/// Reads the entries after this one, at most so many. If there is no such entry, it waits for
/// the next one, at most so long; until then it blocks the connection.
///
/// # Errors
///
/// If the connection or the server fails.
pub async fn read_log(
    connection: &mut (impl ConnectionLike + Send + Sync),
    keys: &Keys,
    after: u64,
    count: usize,
    wait: Duration,
) -> Result<LogRead, RedisError> {
    let [_, _, log, ..] = keys.common();
    let wait = usize::try_from(wait.as_millis()).unwrap_or(usize::MAX).max(1);
    let options = StreamReadOptions::default().count(count).block(wait);
    let reply: Option<StreamReadReply> =
        connection.xread_options(&[log], &[format!("{after}-0")], &options).await?;
    let streams = reply.into_iter().flat_map(|reply| reply.keys);
    let ids: Vec<StreamId> = streams.flat_map(|stream| stream.ids).collect();
    let written = ids.last().and_then(|last| last.get("at")).map(Duration::from_millis);
    Ok(LogRead { entries: ids.into_iter().map(entry).collect(), written })
}

fn entry(id: StreamId) -> Entry {
    let number = id.id.split('-').next().and_then(|number| number.parse().ok());
    let fields = Fields(id.map);
    Entry {
        // An entry that another program has written has no number that is expected.
        number: number.unwrap_or(u64::MAX),
        epoch: fields.text("e").unwrap_or_default().into(),
        kind: kind(&fields).unwrap_or(EntryKind::Purged { target: None }),
    }
}

/// What an entry says, unless it is of a later release.
fn kind(fields: &Fields) -> Option<EntryKind> {
    let target = fields.text("t").map(Target::from);
    match fields.text("k")?.as_str() {
        "o" => Some(EntryKind::Opened {
            write: fields.write()?,
            target: target?,
            lasts: Duration::from_millis(fields.text("m")?.parse().ok()?),
        }),
        "c" => Some(EntryKind::Closed {
            write: fields.write()?,
            target: target?,
            is_unsettled: fields.text("u")? == "1",
            request: fields.text("r").filter(|name| !name.is_empty()).map(Arc::from),
            // An earlier release does not tell it.
            made: fields.text("m").filter(|made| !made.is_empty()).map(Arc::from),
        }),
        "p" => Some(EntryKind::Purged { target }),
        "h" => Some(EntryKind::Looked { history: fields.text("t")?.into() }),
        _ => None,
    }
}

struct Fields(HashMap<String, Value>);

impl Fields {
    fn text(&self, name: &str) -> Option<String> {
        from_redis_value(self.0.get(name)?.clone()).ok()
    }

    fn write(&self) -> Option<WriteId> {
        Some(WriteId(self.text("w")?.parse().ok()?))
    }
}

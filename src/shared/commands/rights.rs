//! Whether the server lets this replica do what it will have to.

use std::time::Duration;

use redis::{RedisError, Script, Value, aio::ConnectionLike};

use super::{keys::Keys, log::read_log};

/// Does what the scripts do, to a key that nothing else uses.
///
/// # Errors
///
/// If the server does not allow it, or fails.
pub async fn try_scripts(
    connection: &mut impl ConnectionLike,
    keys: &Keys,
) -> Result<(), RedisError> {
    let script = Script::new(include_str!("../scripts/rights.lua"));
    let mut call = script.prepare_invoke();
    call.key(keys.of("rights", "tried"));
    call.invoke_async::<Value>(connection).await.map(drop)
}

/// Reads the first entry of the log, if it has one.
///
/// # Errors
///
/// If the server does not allow it, or fails.
pub async fn try_log(
    connection: &mut (impl ConnectionLike + Send + Sync),
    keys: &Keys,
) -> Result<(), RedisError> {
    read_log(connection, keys, 0, 1, Duration::ZERO).await.map(drop)
}

/// Waits for no replica.
///
/// # Errors
///
/// If the server does not allow it, or fails.
pub async fn try_wait(connection: &mut impl ConnectionLike) -> Result<(), RedisError> {
    redis::cmd("WAIT").arg(0).arg(1).query_async::<Value>(connection).await.map(drop)
}

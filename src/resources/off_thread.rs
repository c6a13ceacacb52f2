//! Work that takes long enough to keep others waiting.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Bytes of JSON that are read within about a millisecond.
const SHORT: usize = 256 * 1024;

/// Whether a body of so many bytes takes long to read.
#[must_use]
pub fn is_long(bytes: usize) -> bool {
    bytes > SHORT
}

/// The same of the profiles of a list.
#[must_use]
pub fn is_long_list(profiles: usize) -> bool {
    profiles > 500
}

/// Runs work that waits for nothing, off this thread if it takes long.
pub fn off_thread_if<T>(takes_long: bool, work: impl FnOnce() -> T) -> T {
    if takes_long { off_thread(work) } else { work() }
}

/// Runs work that waits for nothing, while the other tasks of this thread move to another.
///
/// A runtime with a single thread, as tests have, just runs it.
pub fn off_thread<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

//! What the process as a whole may use: bytes of memory, in parts, time of the async threads, and
//! the processors.
//!
//! Every room takes from its part before it keeps what others send, and gives it back by dropping
//! what it took. What a part has no room for is refused, and nothing else suffers. The parts that
//! callers fill are pools of `caller`, so that each caller gets its share.

mod bytes;
mod machine;
mod metrics;
mod off_thread;
mod part;
mod processors;
mod settings;
mod work;

pub use bytes::{Budget, Share, held};
pub use metrics::MemoryMetrics;
pub use off_thread::{is_long, is_long_list, off_thread, off_thread_if};
pub use part::Part;
pub use processors::Processors;
pub use settings::MemorySettings;
pub use work::{Work, coding};

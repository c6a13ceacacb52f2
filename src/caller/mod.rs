//! Who calls, and how much of the process one caller may hold.
//!
//! A caller that has proved who it is has a [`Name`]; any other is its network, or its user on this
//! machine: see [`CallerId`]. What a call holds are places of a [`Pool`], which has a bound in all
//! and a bound for each caller, so that one caller leaves room for the others whatever it does.
//! [`Callers`] finds the caller of a connection once; its calls keep it, unless they prove that
//! they are of another.
//!
//! It knows nothing of calls: who wants a place names the caller and the [`Resource`].

mod allowance;
mod bucket;
mod failures;
mod identity;
mod lines;
mod metrics;
mod name;
mod named;
mod pool;
mod processor;
mod quota;
mod rate;
mod registry;
mod resource;
mod settings;
mod spending;
mod turns;
mod verifications;

pub use identity::{Caller, CallerId, percent_of};
pub use metrics::CallerMetrics;
pub use name::{FORM as NAME_FORM, Name, NotAName};
pub use named::Named;
pub use pool::{Held, Pool};
#[cfg(test)]
pub(crate) use processor::tests::yield_now;
pub use processor::{InTurns, Urgently, urgently};
pub use quota::{Full, Quota, SHARE};
pub use rate::Rate;
pub use registry::Callers;
pub use resource::Resource;
pub use settings::{CallerSettings, QuotaSettings};
pub use spending::Spending;
pub use turns::{Rank, Turn, Turns};
pub use verifications::{Sender, Verifications};

//! This replica as one of those that agree: whether it is, and what it does to stay one.
//!
//! [`Membership`] is what the other rooms see: they ask it to carry out commands, and whether
//! memory may be used. [`Following`] keeps it up over the connections of a
//! [`Supervisor`](super::connection::Supervisor): it joins, renews the lease, and reads the log.

mod clock;
mod following;
mod lease;
mod member;
mod wakes;

pub use self::{
    following::Following,
    lease::Lease,
    member::{Membership, NoAnswer},
    wakes::Woken,
};

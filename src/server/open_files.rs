//! How many files the process may have open, and how many of them are for connections.
//!
//! Each connection is an open file, and so is each request to an upstream. A process that spends
//! all on the connections of its callers can answer none of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The program's own: its log, its ports, its timers, the files of secrets and of names.
const OWN: usize = 64;

/// Raises the limit of open files as far as the system lets this process.
///
/// # Errors
///
/// The system's; then the limit is as it was.
pub fn raise_open_files() -> std::io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

/// How many connections of callers the limit of open files leaves room for, if that is less than
/// `wanted`. `others` is how many connections of other kinds there may be.
pub(crate) fn fewer_connections(wanted: usize, others: usize) -> Option<usize> {
    let Rlimit { current, .. } = getrlimit(Resource::Nofile);
    let limit = usize::try_from(current?).unwrap_or(usize::MAX);
    Some(room(limit, others)).filter(|room| *room < wanted)
}

/// What is left for callers. Half, if the others would get more.
fn room(limit: usize, others: usize) -> usize {
    limit.saturating_sub(others.saturating_add(OWN)).max(limit / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_the_others_leave_and_at_least_half() {
        for (limit, others, left) in
            [(10_000, 300, 9636), (1024, 300, 660), (300, 300, 150), (0, 1, 1), (1, 0, 1)]
        {
            assert_eq!(room(limit, others), left, "{limit} {others}");
        }
        assert_eq!(room(usize::MAX, usize::MAX), usize::MAX / 2);
        assert_eq!(fewer_connections(1, 0), None);
    }
}

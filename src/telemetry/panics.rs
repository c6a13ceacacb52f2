//! Where a panic happened, without what it said: a panic's text may quote a request or a secret.
//!
//! Does not catch panics.

use std::{
    cell::RefCell,
    panic::{self, PanicHookInfo},
    sync::Once,
};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the process's panic hook, which prints the panic's text, with one that logs the
/// location.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(report)));
}

/// Where the last panic on this thread happened (`file:line:column`); forgets it. `None` when
/// [`install`] was not called.
#[must_use]
pub fn take_location() -> Option<String> {
    LAST.take()
}

fn report(info: &PanicHookInfo<'_>) {
    let location = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    tracing::error!(target: "panic", %location, "the program panicked, which is a bug");
    // A panic while the thread's locals are torn down must not panic again.
    let _ = LAST.try_with(|last| last.replace(Some(location)));
}

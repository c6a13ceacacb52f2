//! The one way from a request to a backend: past what its caller may do there.
//!
//! Nothing else has the backends, so nothing is looked up in a cache, read, resumed or written for
//! a caller before it was asked whether it may. It is asked by the backend's name alone: what a
//! caller that may not is told does not depend on whether there is such a backend.

use std::{
    marker::PhantomData,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{backend::Backend, backends::Backends};
use crate::{
    auth::{RIGHT_TO_VALIDATE, Right, not_allowed, right_of},
    cache::Control,
    call::{Call, Denial},
    error::{Error, Reason, Result, metadata},
    model::{
        method::Method,
        name::{BackendName, Parent},
    },
    text,
};

/// The configured backends.
pub(crate) struct Door {
    backends: Arc<Backends>,
    /// Whether who may not ask for what is fresh is refused for it.
    denies_fresh: AtomicBool,
}

/// What is done with a backend.
pub(crate) trait Usage: 'static {
    /// Whether it looks at what is cached.
    const LOOKS: bool = false;
    /// Whether what a request asks for is written.
    const WRITES: bool = false;

    /// The right that a method needs for it.
    fn right(method: Method) -> Right;

    /// One that is enough in place of it.
    fn other_right(_: Method) -> Option<Right> {
        None
    }
}

/// To read from it, through its cache.
pub(crate) enum Reads {}
/// To show what a write would send.
pub(crate) enum Previews {}
/// To check a write, and not to carry it out (`validate_only`).
pub(crate) enum Checks {}
/// To write.
pub(crate) enum Writes {}
/// To look after it.
pub(crate) enum Operates {}

impl Usage for Reads {
    const LOOKS: bool = true;

    fn right(_: Method) -> Right {
        Right::Read
    }
}

impl Usage for Previews {
    const LOOKS: bool = true;

    fn right(_: Method) -> Right {
        Right::Preview
    }
}

impl Usage for Checks {
    fn right(_: Method) -> Right {
        RIGHT_TO_VALIDATE
    }

    fn other_right(method: Method) -> Option<Right> {
        Some(right_of(method))
    }
}

impl Usage for Writes {
    const WRITES: bool = true;

    fn right(method: Method) -> Right {
        right_of(method)
    }
}

impl Usage for Operates {
    fn right(_: Method) -> Right {
        Right::Admin
    }
}

/// A usage that looks at what is cached.
pub(crate) trait Looks: Usage {}

impl Looks for Reads {}
impl Looks for Previews {}

/// A backend that a call may use so.
pub(crate) struct Allowed<U> {
    backend: Arc<Backend>,
    /// How its cache is used for the call.
    control: Control,
    usage: PhantomData<U>,
}

impl<U> Clone for Allowed<U> {
    fn clone(&self) -> Self {
        Self { backend: Arc::clone(&self.backend), control: self.control, usage: PhantomData }
    }
}

impl<U> Deref for Allowed<U> {
    type Target = Arc<Backend>;

    fn deref(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl<U: Looks> Allowed<U> {
    /// What the call may ask of the cache.
    pub(crate) fn cache_control(&self) -> Control {
        self.control
    }
}

impl Door {
    /// The door to these backends.
    pub(crate) fn to(backends: impl IntoIterator<Item = Backend>) -> Self {
        let denies_fresh = AtomicBool::new(false);
        Self { backends: Arc::new(Backends::new(backends)), denies_fresh }
    }

    /// Sets whether who may not ask for what is fresh is refused for it from now on.
    pub(crate) fn deny_fresh(&self, denies: bool) {
        self.denies_fresh.store(denies, Ordering::Release);
    }

    /// All of them, for what the process itself does.
    pub(crate) fn of_the_process(&self) -> &Arc<Backends> {
        &self.backends
    }

    /// The backend of this name.
    ///
    /// # Errors
    ///
    /// When the caller may not use it so, whether there is one or not; or when it is
    /// not configured.
    pub(crate) fn backend<U: Usage>(
        &self,
        call: &Call,
        name: &BackendName,
        method: Method,
    ) -> Result<Allowed<U>> {
        let id = name.id();
        let right = U::right(method);
        let mut enough = [Some(right), U::other_right(method)].into_iter().flatten();
        let Some(right) = enough.find(|right| call.record.may(*right, id)) else {
            return Err(denied(call, right, id, method));
        };
        self.check_fresh::<U>(call, id, method)?;
        call.record.allow(right);
        let backends = self.backends.now();
        let Some(backend) = backends.get(id) else {
            return Err(self.not_found(call, name, method));
        };
        call.record.set_backend(id);
        Ok(self.allowed(call, id, backend))
    }

    /// Those that the caller may use so, for a call that is for all of them.
    pub(crate) fn every<U: Usage>(&self, call: &Call, method: Method) -> SelectedBackends<U> {
        let right = U::right(method);
        let may = |id: &str| call.record.may(right, id);
        call.record.allow(right);
        let backends = self.backends.now();
        let allowed = backends.iter().filter(|(id, _)| may(id));
        let allowed = allowed.map(|(id, backend)| self.allowed(call, id, backend));
        SelectedBackends { backends: allowed.collect(), single: false }
    }

    /// The backends that the parent of a request names: one, or all that its caller may use so.
    ///
    /// # Errors
    ///
    /// As [`Self::backend`], or when it is not a parent.
    pub(crate) fn of_parent<U: Usage>(
        &self,
        call: &Call,
        parent: &str,
        method: Method,
    ) -> Result<SelectedBackends<U>> {
        match Parent::parse("parent", parent)? {
            Parent::All => {
                call.record.set_backend("-");
                self.every_fresh(call, method)
            }
            Parent::One(name) => Ok(SelectedBackends::single(self.backend(call, &name, method)?)),
        }
    }

    /// The same, for a call that looks at what they have cached.
    ///
    /// # Errors
    ///
    /// When the caller may not ask one of them for what is fresh, and does, and is refused for it.
    pub(crate) fn every_fresh<U: Usage>(
        &self,
        call: &Call,
        method: Method,
    ) -> Result<SelectedBackends<U>> {
        let selected = self.every::<U>(call, method);
        for backend in selected.all() {
            self.check_fresh::<U>(call, backend.name().id(), method)?;
        }
        Ok(selected)
    }

    fn check_fresh<U: Usage>(&self, call: &Call, id: &str, method: Method) -> Result<()> {
        let asks = U::LOOKS && call.cache_control.asks_upstream();
        let denies_fresh = self.denies_fresh.load(Ordering::Acquire);
        if !asks || !denies_fresh || call.record.may(Right::Fresh, id) {
            return Ok(());
        }
        Err(denied(call, Right::Fresh, id, method))
    }

    fn allowed<U>(&self, call: &Call, id: &str, backend: &Arc<Backend>) -> Allowed<U> {
        let mut control = call.cache_control;
        if control.asks_upstream() && !call.record.may(Right::Fresh, id) {
            control = control.without_asking_upstream();
        }
        Allowed { backend: Arc::clone(backend), control, usage: PhantomData }
    }

    /// The error for a backend that is not there, with those that the caller may see.
    fn not_found(&self, call: &Call, name: &BackendName, method: Method) -> Error {
        let backends = self.backends.now();
        let seen = backends.keys().filter(|id| call.record.may(Right::Read, id));
        let seen: Vec<&str> = seen.take(10).map(String::as_str).collect();
        let mut message = format!("no backend {} is configured", text::quoted(name.id()));
        if !seen.is_empty() {
            message += &format!("; the backends are {}", seen.join(", "));
        }
        Error::new(Reason::BackendNotFound, message)
            .with_resource(name.to_string())
            .with_metadata(metadata::BACKEND, text::cut(name.id(), 64))
            .with_metadata(metadata::OPERATION, method.name())
    }
}

/// The error for a caller that does not have a right in the backend of this name.
fn denied(call: &Call, right: Right, id: &str, method: Method) -> Error {
    call.record.deny(Denial::of(right, Some(id)));
    not_allowed(right, Some(id)).with_metadata(metadata::OPERATION, method.name())
}

/// The backends that the parent of a request names: one, or all that its caller may use so.
pub(crate) struct SelectedBackends<U> {
    backends: Vec<Allowed<U>>,
    single: bool,
}

impl<U> SelectedBackends<U> {
    pub(crate) fn single(backend: Allowed<U>) -> Self {
        Self { backends: vec![backend], single: true }
    }

    /// Each of them, by name.
    pub(crate) fn all(&self) -> &[Allowed<U>] {
        &self.backends
    }

    /// The backend, if the parent names a single one.
    pub(crate) fn as_single(&self) -> Option<&Allowed<U>> {
        self.backends.first().filter(|_| self.single)
    }

    /// The error as callers see it. It names the backend only if there is a single one.
    pub(crate) fn decorate(&self, method: Method, error: Error) -> Error {
        match self.as_single() {
            Some(backend) => backend.decorate(method, error),
            None => error,
        }
    }
}

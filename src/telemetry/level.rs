//! The filter of the log, which can be replaced while the program runs.

use std::{mem, sync::Arc};

use parking_lot::RwLock;
use tracing::{
    Id, Metadata, Subscriber,
    callsite::rebuild_interest_cache,
    level_filters::LevelFilter,
    span::{Attributes, Record},
    subscriber::Interest,
};
use tracing_subscriber::{EnvFilter, Layer, layer::Context};

/// A filter; a handle.
///
/// Whether a line passes is decided once for each place in the code, and again after a replacement.
/// So it costs no line anything that it can be replaced, which the library's own layer for that
/// does not promise: it takes a lock for each.
#[derive(Clone)]
pub(super) struct Level(Arc<RwLock<EnvFilter>>);

impl Level {
    pub(super) fn new(filter: EnvFilter) -> Self {
        Self(Arc::new(RwLock::new(filter)))
    }

    /// From here on, lines have to pass this filter.
    pub(super) fn replace(&self, filter: EnvFilter) {
        let before = mem::replace(&mut *self.0.write(), filter);
        rebuild_interest_cache();
        drop(before);
    }
}

// What only spans need is called for spans alone.
impl<S: Subscriber> Layer<S> for Level {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        Layer::<S>::register_callsite(&*self.0.read(), metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        Layer::<S>::enabled(&*self.0.read(), metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&*self.0.read())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_new_span(&*self.0.read(), attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Layer::<S>::on_record(&*self.0.read(), id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_enter(&*self.0.read(), id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_exit(&*self.0.read(), id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Layer::<S>::on_close(&*self.0.read(), id, context);
    }
}

//! The stores that the tests run over.

use std::{cell::RefCell, sync::Arc};

use tempfile::TempDir;

use crate::store::{File, Memory, Store, StoreMetrics};

pub(super) fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::default())
}

/// One whose directory ends with the test, which has a thread of its own.
pub(super) fn file() -> Arc<dyn Store> {
    thread_local! {
        static DIRECTORIES: RefCell<Vec<TempDir>> = const { RefCell::new(Vec::new()) };
    }
    let directory = TempDir::new().unwrap();
    let store = Arc::new(File::open(directory.path(), StoreMetrics::default()).unwrap());
    DIRECTORIES.with_borrow_mut(|all| all.push(directory));
    store
}

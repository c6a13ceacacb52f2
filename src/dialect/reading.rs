//! Reads large answers off the async threads, whichever dialect they are of.
//!
//! A dialect reads an answer right after it came: from there to its next wait, nothing else runs on
//! the thread. So the part of an operation that follows a large answer runs where it keeps no other
//! call waiting, and only a few such parts run at once.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::yield_now,
};

use crate::{
    error::Result,
    resources::{is_long, off_thread},
    upstream::{Port, PortLayer, Reply, Request},
};

/// How many large answers of all backends are read at the same time.
const AT_ONCE: usize = 2;

static READERS: Semaphore = Semaphore::const_new(AT_ONCE);

/// The port of one operation, which notices large answers.
pub(super) struct Reading<'p> {
    port: &'p dyn Port,
    /// There while a large answer waits to be read.
    reader: Mutex<Option<SemaphorePermit<'static>>>,
}

impl<'p> Reading<'p> {
    pub(super) fn from(port: &'p dyn Port) -> Self {
        Self { port, reader: Mutex::default() }
    }

    /// Runs an operation that sends its requests through this.
    pub(super) async fn run<F: Future>(&self, operation: F) -> F::Output {
        let mut operation = pin!(operation);
        poll_fn(|cx| {
            let reader = self.reader.lock().take();
            match reader {
                None => operation.as_mut().poll(cx),
                Some(_reader) => off_thread(|| operation.as_mut().poll(cx)),
            }
        })
        .await
    }
}

#[async_trait]
impl PortLayer for Reading<'_> {
    fn inner(&self) -> &dyn Port {
        self.port
    }

    async fn pass(&self, request: Request) -> Result<Reply> {
        let reply = self.port.send(request).await?;
        if is_long(reply.body.len()) {
            // It is never closed.
            *self.reader.lock() = READERS.acquire().await.ok();
            // What follows is in the next poll.
            yield_now().await;
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        },
        time::Duration,
    };

    use bytes::Bytes;
    use futures_util::future::join_all;
    use http::{HeaderMap, Method, StatusCode};

    use super::*;
    use crate::upstream::Safety;

    /// Answers with a body of this size.
    struct Sized(usize);

    #[async_trait]
    impl Port for Sized {
        async fn send(&self, _: Request) -> Result<Reply> {
            Ok(Reply::new(StatusCode::OK, HeaderMap::new(), Bytes::from(vec![b' '; self.0])))
        }

        fn redact(&self, _: &str) -> Option<String> {
            None
        }

        async fn repeats_secret(&self, _: &Bytes) -> bool {
            false
        }
    }

    fn request() -> Request {
        Request {
            operation: "Read",
            method: Method::GET,
            path: String::new(),
            profile: None,
            headers: Vec::new(),
            body: None,
            safety: Safety::Read,
        }
    }

    /// Runs work right after an answer of so many bytes.
    async fn read(bytes: usize, work: impl FnOnce()) {
        let port = Sized(bytes);
        let reading = Reading::from(&port);
        let operation = async {
            reading.send(request()).await.unwrap();
            work();
        };
        reading.run(operation).await;
    }

    const LARGE: usize = 300 * 1024;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_run_while_a_large_answer_is_read() {
        let (begun, other) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (begins, ran) = (Arc::clone(&begun), Arc::clone(&other));
        let reader = tokio::spawn(read(LARGE, move || {
            begins.store(true, SeqCst);
            // Bounded, so that the test fails when the only thread is kept.
            for _ in 0..10_000 {
                if ran.load(SeqCst) {
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            panic!("no other task ran");
        }));
        while !begun.load(SeqCst) {
            yield_now().await;
        }
        tokio::spawn(async move { other.store(true, SeqCst) }).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn only_a_few_large_answers_are_read_at_once() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let reads = (0..16).map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(read(LARGE, move || {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::park_timeout(Duration::from_millis(5));
                now.fetch_sub(1, SeqCst);
            }))
        });
        join_all(reads).await.into_iter().for_each(|read| read.unwrap());
        assert!((1..=AT_ONCE).contains(&most.load(SeqCst)), "{most:?}");
    }

    #[tokio::test]
    async fn a_single_thread_reads_it_too() {
        let read_it = AtomicBool::new(false);
        read(LARGE, || read_it.store(true, SeqCst)).await;
        assert!(read_it.load(SeqCst));
    }
}

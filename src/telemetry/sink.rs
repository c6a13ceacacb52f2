//! Where JSON lines go: to a writer, those of the access log some at a time.
//!
//! One write for each call would cost more than the rest of what the gateway does for a call that
//! it answers from memory. What waits is bounded in size and in time, and any other line, which an
//! operator may be looking for, is written together with what waits before it.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The target of the access log.
pub(super) const ACCESS: &str = "access";

/// The longest that a line waits.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// How many bytes wait at most, before the line that exceeds them.
const MAX_BYTES: usize = 32 * 1024;

/// Lines on their way to a writer; a handle.
#[derive(Debug)]
pub(super) struct Sink<W>(Arc<Shared<W>>);

#[derive(Debug)]
struct Shared<W> {
    lines: Mutex<Waiting<W>>,
    some: Condvar,
}

#[derive(Debug)]
struct Waiting<W> {
    lines: Vec<u8>,
    /// Whether a thread ensures that they are written in time.
    may_wait: bool,
    out: W,
}

impl<W> Clone for Sink<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write + Send + 'static> Sink<W> {
    /// A sink whose lines may wait, if a thread to write them can be started. It is a thread and
    /// not a task, so that lines are written even when the runtime is stuck, and after its end.
    pub(super) fn new(out: W) -> Self {
        let sink = Self::unattended(out);
        let waiting = sink.clone();
        let thread = thread::Builder::new().name("log".to_owned());
        // Set before the thread starts, because it ends when no line may wait.
        sink.lock().may_wait = true;
        if thread.spawn(move || waiting.write_in_time()).is_err() {
            sink.lock().may_wait = false;
        }
        sink
    }

    fn unattended(out: W) -> Self {
        let lines = Mutex::new(Waiting { lines: Vec::new(), may_wait: false, out });
        Self(Arc::new(Shared { lines, some: Condvar::new() }))
    }

    /// Writes what waits; from now on nothing does.
    pub(super) fn finish(&self) {
        let mut waiting = self.lock();
        waiting.may_wait = false;
        waiting.write();
        self.0.some.notify_all();
    }

    fn write_in_time(&self) {
        let mut waiting = self.lock();
        loop {
            let some = &self.0.some;
            some.wait_while(&mut waiting, |waiting| waiting.may_wait && waiting.lines.is_empty());
            if !waiting.may_wait {
                return;
            }
            some.wait_while_for(&mut waiting, |waiting| waiting.may_wait, MAX_WAIT);
            waiting.write();
        }
    }

    fn take(&self, line: &[u8], may_wait: bool) {
        let mut waiting = self.lock();
        let first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        if !(may_wait && waiting.may_wait) || waiting.lines.len() >= MAX_BYTES {
            waiting.write();
        } else if first {
            self.0.some.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<W>> {
        self.0.lines.lock()
    }
}

impl<W: Write> Waiting<W> {
    // With the lock held, so that lines stay in order, and a reader that is slow slows the calls
    // down instead of filling the memory.
    fn write(&mut self) {
        if !self.lines.is_empty() {
            // There is nowhere to report that the log cannot be written.
            let _ = self.out.write_all(&self.lines);
            // A long line may have grown it.
            if self.lines.capacity() > 2 * MAX_BYTES {
                drop(mem::take(&mut self.lines));
            }
            self.lines.clear();
        }
    }
}

impl<'a, W: Write + Send + 'static> MakeWriter<'a> for Sink<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { sink: self, may_wait: false }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Self::Writer {
        Line { sink: self, may_wait: about.target() == ACCESS && *about.level() > Level::WARN }
    }
}

/// Takes one line, in one piece.
pub(super) struct Line<'a, W> {
    sink: &'a Sink<W>,
    may_wait: bool,
}

impl<W: Write + Send + 'static> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sink.take(line, self.may_wait);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    struct Out(Sender<String>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_wait_until_one_does_not_and_stay_in_order() {
        let (out, written) = channel();
        let sink = Sink::unattended(Out(out));
        sink.lock().may_wait = true;
        sink.take(b"a", true);
        sink.take(b"b", true);
        assert!(written.try_recv().is_err());
        sink.take(b"c", false);
        assert_eq!(written.try_recv().unwrap(), "abc");
        sink.take(b"d", true);
        sink.finish();
        assert_eq!(written.try_recv().unwrap(), "d");
        sink.take(b"e", true);
        assert_eq!(written.try_recv().unwrap(), "e");
    }

    #[test]
    fn the_size_of_what_waits_is_bounded() {
        let (out, written) = channel();
        let sink = Sink::unattended(Out(out));
        sink.lock().may_wait = true;
        let line = "x".repeat(MAX_BYTES / 2);
        sink.take(line.as_bytes(), true);
        assert!(written.try_recv().is_err());
        sink.take(line.as_bytes(), true);
        assert_eq!(written.try_recv().unwrap().len(), MAX_BYTES);
    }

    #[test]
    fn nothing_waits_forever() {
        let (out, written) = channel();
        let sink = Sink::new(Out(out));
        for line in ["a", "b"] {
            sink.take(line.as_bytes(), true);
            assert_eq!(written.recv().unwrap(), line);
        }
        sink.finish();
    }

    #[test]
    fn without_a_thread_to_write_them_no_line_waits() {
        let (out, written) = channel();
        Sink::unattended(Out(out)).take(b"a", true);
        assert_eq!(written.try_recv().unwrap(), "a");
    }
}

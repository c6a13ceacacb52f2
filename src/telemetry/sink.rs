//! Where log lines go: to a thread of their own, which alone writes.
//!
//! No call waits for the log. What waits to be written is bounded in bytes; when the reader is slow
//! or the place is full, lines are left out and counted, those of the access log first. Access
//! lines are written some at a time, because one write for each call would cost more than the rest
//! of what the gateway does for a call that it answers from memory. Any other line, which an
//! operator may be looking for, is written at once, together with what waits before it.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::time::Instant;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    metrics::{Cause, Kind, LogMetrics},
    record::{Form, Record},
};

/// The target of the access log.
pub(super) const ACCESS: &str = "access";

/// The longest that a line waits while the writer is idle.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// How many bytes of access lines wake the writer before that, or half of their room if that is
/// less.
const BATCH: usize = 32 * 1024;
/// How often at most a line tells what was left out.
const REPORTS: Duration = Duration::from_secs(1);
/// How long the end of the process waits for what is not written yet.
pub(super) const END: Duration = Duration::from_secs(1);

/// Lines on their way to a writer; a handle.
#[derive(Debug, Clone)]
pub(super) struct Sink(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    some: Condvar,
    /// Everything is written.
    none: Condvar,
    form: Form,
    metrics: LogMetrics,
}

/// How many bytes may wait when a line comes, by what it is. Each has room that those before it
/// cannot take.
#[derive(Debug, Default, Clone, Copy)]
struct Room {
    access: usize,
    other: usize,
    urgent: usize,
}

impl Room {
    fn of(bytes: usize) -> Self {
        Self { access: bytes / 2, other: bytes / 4 * 3, urgent: bytes }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// How many of them are of the access log, and how many are not.
    numbers: Numbers,
    left_out: Numbers,
    room: Room,
    /// They do not wait for others.
    at_once: bool,
    /// The writer is writing lines that it has taken.
    writing: bool,
    /// The process is about to end.
    ending: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    access: u64,
    other: u64,
}

/// What a line is to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    /// Of the access log.
    Access,
    Other,
    /// A warning or an error that is not of the access log: what callers do cannot use up its room.
    Urgent,
}

impl Priority {
    fn of(about: &Metadata<'_>) -> Self {
        match about.target() {
            ACCESS => Self::Access,
            _ if *about.level() <= Level::WARN => Self::Urgent,
            _ => Self::Other,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Access => Kind::Access,
            Self::Other | Self::Urgent => Kind::Other,
        }
    }
}

impl Sink {
    /// A sink that a thread writes to `out`, with at most so many bytes waiting. It is a thread and
    /// not a task, so that lines are written even when the runtime is stuck, and after its end.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        form: Form,
        bytes: usize,
        metrics: LogMetrics,
    ) -> io::Result<Self> {
        let sink = Self(Arc::new(Shared {
            waiting: Mutex::new(Waiting { room: Room::of(bytes), ..Waiting::default() }),
            some: Condvar::new(),
            none: Condvar::new(),
            form,
            metrics,
        }));
        let shared = Arc::clone(&sink.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(out))?;
        Ok(sink)
    }

    /// Waits until all lines are written, unless that takes too long; from now on none waits for
    /// others.
    pub(super) fn finish(&self) {
        let Shared { waiting, some, none, .. } = &*self.0;
        let mut waiting = waiting.lock();
        waiting.ending = true;
        some.notify_all();
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        none.wait_while_for(&mut waiting, busy, END);
    }

    /// From now on, at most so many bytes wait. Those that wait already are written.
    pub(super) fn resize(&self, bytes: usize) {
        self.0.waiting.lock().room = Room::of(bytes);
    }

    fn take(&self, line: &[u8], priority: Priority) {
        let Shared { waiting, some, metrics, .. } = &*self.0;
        let mut waiting = waiting.lock();
        let room = waiting.room;
        let batch = BATCH.min(room.access / 2);
        let (room, awaited) = match priority {
            Priority::Access => (room.access, false),
            Priority::Other => (room.other, true),
            Priority::Urgent => (room.urgent, true),
        };
        if waiting.lines.len() + line.len() > room {
            waiting.left_out.add(priority.kind(), 1);
            metrics.left_out(priority.kind(), Cause::Full, 1);
            return;
        }
        let first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        waiting.numbers.add(priority.kind(), 1);
        let was_awaited = waiting.at_once;
        waiting.at_once |= awaited || waiting.lines.len() >= batch;
        // Each wakes the writer once, which takes all that there is by then.
        if first || waiting.at_once != was_awaited {
            some.notify_one();
        }
    }
}

impl Shared {
    fn write_to(&self, mut out: impl Write) {
        let (mut lines, mut told) = (Vec::new(), None);
        loop {
            let taken = self.next(&mut lines, &mut told);
            // Without the lock, so that a reader who is slow does not slow down those who log.
            let written = out.write_all(&lines).and_then(|()| out.flush());
            self.written(written.is_ok(), taken);
            // A line that is long, or many that had to wait, may have grown it.
            if lines.capacity() > 2 * BATCH {
                lines = Vec::new();
            }
        }
    }

    /// Waits for lines, and takes them: how many there are.
    fn next(&self, lines: &mut Vec<u8>, told: &mut Option<Instant>) -> Numbers {
        let mut waiting = self.waiting.lock();
        self.some.wait_while(&mut waiting, |waiting| waiting.lines.is_empty());
        let patient = |waiting: &mut Waiting| !(waiting.at_once || waiting.ending);
        self.some.wait_while_for(&mut waiting, patient, MAX_WAIT);
        lines.clear();
        mem::swap(&mut waiting.lines, lines);
        waiting.at_once = false;
        waiting.writing = true;
        let due = told.is_none_or(|told| told.elapsed() >= REPORTS);
        if waiting.left_out != Numbers::default() && (due || waiting.ending) {
            *told = Some(Instant::now());
            lines.extend(mem::take(&mut waiting.left_out).report(self.form));
        }
        mem::take(&mut waiting.numbers)
    }

    fn written(&self, well: bool, Numbers { access, other }: Numbers) {
        let mut waiting: MutexGuard<'_, Waiting> = self.waiting.lock();
        waiting.writing = false;
        if !well {
            // There is nowhere else to report that the log cannot be written.
            for (kind, number) in [(Kind::Access, access), (Kind::Other, other)] {
                waiting.left_out.add(kind, number);
                self.metrics.left_out(kind, Cause::Failed, number);
            }
        }
        if waiting.lines.is_empty() {
            self.none.notify_all();
        }
    }
}

impl Numbers {
    fn add(&mut self, kind: Kind, number: u64) {
        match kind {
            Kind::Access => self.access += number,
            Kind::Other => self.other += number,
        }
    }

    fn report(self, form: Form) -> Vec<u8> {
        Record::new(form, "WARN", "log")
            .text("message", "lines of the log could not be written, and were left out")
            .number("access_lines", self.access)
            .number("other_lines", self.other)
            .line()
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { sink: self, priority: Priority::Other }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Self::Writer {
        Line { sink: self, priority: Priority::of(about) }
    }
}

/// Takes one line, in one piece.
pub(super) struct Line<'a> {
    sink: &'a Sink,
    priority: Priority,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sink.take(line, self.priority);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The audit log: what was written upstream, and before that, what is about to be.
//!
//! It is apart from the log of the process: no level touches it, and a write learns whether its
//! line of the journal is written. A thread of its own writes, and what waits for it is
//! bounded. A line that tells how a write ended cannot be refused any more: it is kept until it can
//! be written, and only if there is no room for it left out and counted.
//!
//! Each line has a number, one more than that of the line before, so that a reader sees that one
//! is missing. The thread gives it when it first tries to write the line, and gives none twice:
//! what was tried and failed may be there in part. A line about what is over takes a number even if
//! there is no room for it, at once, so the gap comes before the lines that were waiting. A denial
//! that is left out takes none.

mod output;

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use self::output::{Output, open};
use super::{
    logs,
    metrics::AuditMetrics,
    record::{Form, Record},
    settings::AuditSettings,
    sink::END,
};

/// The pause after lines could not be written, unless another one comes.
const PAUSE: Duration = Duration::from_secs(1);

/// What an entry takes beside its bytes, with its number.
const OVERHEAD: usize = 128;

/// Those of the process, for its end.
static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// The audit log; a handle. Its thread ends with the last one, once all is written.
#[derive(Debug, Clone)]
pub struct AuditLog {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, or nothing will come.
    some: Condvar,
    /// Everything is written.
    none: Condvar,
    bytes: usize,
    form: Form,
    /// Tells its numbers from those of other processes, and of those before.
    process: String,
    /// What it is written to.
    name: String,
    metrics: AuditMetrics,
    /// Lines are written nowhere, and stay where a test finds them.
    stays: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// The number that was given last.
    number: u64,
    bytes: usize,
    /// There are entries that were not tried yet.
    new: bool,
    /// The thread has taken entries.
    writing: bool,
    /// Nothing will come.
    over: bool,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    is_numbered: bool,
    /// Who waits until it is written.
    asker: Option<oneshot::Sender<Result<(), String>>>,
}

impl Entry {
    fn new(record: Record, asker: Option<oneshot::Sender<Result<(), String>>>) -> Self {
        Self { record, is_numbered: false, asker }
    }

    fn size(&self) -> usize {
        self.record.len() + OVERHEAD
    }
}

impl AuditLog {
    /// Opens what the settings name. `format` is that of the log, which applies to streams; a file
    /// has JSON.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or no thread can be started.
    pub fn open(
        settings: &AuditSettings,
        format: logs::Format,
        metrics: AuditMetrics,
    ) -> io::Result<Self> {
        let (output, form) = open(settings, format)?;
        Self::to(output, form, settings.buffer_bytes, metrics)
    }

    fn to(
        output: impl Output,
        form: Form,
        bytes: usize,
        metrics: AuditMetrics,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(form, bytes, output.name(), metrics, false));
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("audit".to_owned()).spawn(move || theirs.write_to(output))?;
        let mut all = ALL.lock();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        Ok(Self { handle: Arc::new(Handle(shared)) })
    }

    /// A write to this backend has ended, and whether it took effect is not known.
    pub(crate) fn count_unknown_outcome(&self, backend: &str) {
        self.handle.0.metrics.unknown_outcome(backend);
    }

    /// One that takes so many bytes and waits for no thread, for tests on a paused clock.
    #[cfg(test)]
    pub(crate) fn in_memory(bytes: usize) -> Self {
        let metrics = AuditMetrics::default();
        let shared = Shared::new(Form::Json, bytes, String::new(), metrics, true);
        Self { handle: Arc::new(Handle(Arc::new(shared))) }
    }

    /// The lines of such a one.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> Vec<String> {
        let waiting = self.handle.0.waiting.lock();
        let lines = waiting.entries.iter().map(|entry| entry.record.line());
        lines.map(|line| String::from_utf8(line).unwrap()).collect()
    }

    /// A line under way; `target` tells the two sorts of lines apart.
    #[must_use]
    pub fn record(&self, target: &'static str) -> Record {
        Record::new(self.handle.0.form, "INFO", target)
    }

    /// Writes a line before what it tells of, and waits for that no longer than until `end`. Then,
    /// or if it is dropped before, the line is taken back, unless it is being written.
    ///
    /// # Errors
    ///
    /// When it is not written, with the name of what it should be written to, and the cause.
    pub async fn journal(&self, record: Record, end: Instant) -> Result<(), String> {
        let shared = &self.handle.0;
        if shared.stays {
            let added = shared.add(Entry::new(record, None), shared.bytes);
            return if added { Ok(()) } else { Err("it takes no lines".to_owned()) };
        }
        let (asker, answer) = oneshot::channel();
        // The other half is for those lines that cannot be refused.
        let answer = match shared.add(Entry::new(record, Some(asker)), shared.bytes / 2) {
            false => Err("too many lines wait to be written".to_owned()),
            true => match timeout_at(end, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err("it is not written any more".to_owned()),
                Err(_) => Err("it is not written in time".to_owned()),
            },
        };
        answer.map_err(|cause| {
            shared.metrics.refused.inc();
            format!("{}: {cause}", shared.name)
        })
    }

    /// Writes a line about a call that was denied, later, unless more than a quarter of the room is
    /// taken: who may do nothing leaves the rest to those who write. Returns whether it does.
    #[must_use]
    pub fn audit_denial(&self, record: Record) -> bool {
        let shared = &self.handle.0;
        shared.add(Entry::new(record, None), shared.bytes / 4)
    }

    /// Writes a line about what is over, later.
    pub fn audit(&self, record: Record) {
        let shared = &self.handle.0;
        if !shared.add(Entry::new(record, None), shared.bytes) {
            shared.waiting.lock().number += 1;
            shared.metrics.lost.inc();
        }
    }
}

/// Waits until the lines of all audit logs are written, unless that takes too long.
pub(super) fn finish() {
    let all = mem::take(&mut *ALL.lock());
    for shared in all.iter().filter_map(Weak::upgrade) {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.entries.is_empty();
        shared.some.notify_all();
        shared.none.wait_while_for(&mut shared.waiting.lock(), busy, END);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.waiting.lock().over = true;
        self.0.some.notify_all();
    }
}

impl Shared {
    fn new(form: Form, bytes: usize, name: String, metrics: AuditMetrics, stays: bool) -> Self {
        Self {
            waiting: Mutex::default(),
            some: Condvar::new(),
            none: Condvar::new(),
            bytes,
            form,
            process: format!("{:016x}", rand::random::<u64>()),
            name,
            metrics,
            stays,
        }
    }

    fn add(&self, entry: Entry, room: usize) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.bytes + entry.size() > room {
            return false;
        }
        waiting.bytes += entry.size();
        waiting.entries.push_back(entry);
        waiting.new = true;
        self.some.notify_one();
        true
    }

    fn write_to(&self, mut output: impl Output) {
        let mut well = true;
        while let Some(entries) = self.next() {
            if entries.is_empty() {
                self.written(entries, Ok(()));
                continue;
            }
            let lines: Vec<u8> = entries.iter().flat_map(|entry| entry.record.line()).collect();
            let written = output.write(&lines);
            match &written {
                Err(error) if well => tracing::error!(
                    target: "audit_log", name = self.name, %error,
                    "the audit log cannot be written: writes are refused until it can"
                ),
                Ok(()) if !well => tracing::warn!(
                    target: "audit_log", name = self.name, "the audit log can be written again"
                ),
                _ => {}
            }
            well = written.is_ok();
            self.written(entries, written.map_err(|error| error.to_string()));
        }
    }

    /// Waits for entries, and takes them; `None` when none will come.
    fn next(&self) -> Option<Vec<Entry>> {
        let mut waiting = self.waiting.lock();
        self.some.wait_while(&mut waiting, |waiting| waiting.entries.is_empty() && !waiting.over);
        if !waiting.new && !waiting.over {
            // What could not be written a moment ago.
            self.some.wait_while_for(&mut waiting, |w| !w.new && !w.over, PAUSE);
        }
        waiting.new = false;
        waiting.bytes = 0;
        let all = mem::take(&mut waiting.entries);
        // Who has stopped waiting does not write.
        let is_wanted = |entry: &Entry| !entry.asker.as_ref().is_some_and(|a| a.is_closed());
        let mut wanted: Vec<Entry> = all.into_iter().filter(is_wanted).collect();
        for entry in wanted.iter_mut().filter(|entry| !entry.is_numbered) {
            waiting.number += 1;
            entry.record.add_number("sequence", waiting.number);
            entry.record.add_text("process", &self.process);
            entry.is_numbered = true;
        }
        waiting.writing = true;
        (!wanted.is_empty() || !waiting.over).then_some(wanted)
    }

    fn written(&self, entries: Vec<Entry>, result: Result<(), String>) {
        let (askers, mut others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.asker.is_some());
        {
            let mut waiting = self.waiting.lock();
            waiting.writing = false;
            if result.is_err() && waiting.over {
                self.metrics.lost.inc_by(others.drain(..).len() as u64);
            } else if result.is_err() {
                waiting.bytes += others.iter().map(Entry::size).sum::<usize>();
                others.drain(..).rev().for_each(|entry| waiting.entries.push_front(entry));
            }
            if waiting.entries.is_empty() {
                self.none.notify_all();
            }
        }
        for asker in askers.into_iter().filter_map(|entry| entry.asker) {
            // It may have stopped waiting.
            let _ = asker.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests;

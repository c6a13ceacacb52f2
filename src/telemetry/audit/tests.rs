//! The audit log over an output that does what a test says.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Says what it is asked to write, and does it when it is let.
struct Out {
    asked: Sender<String>,
    answers: Receiver<bool>,
}

impl Output for Out {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let lines = String::from_utf8(lines.to_vec()).unwrap();
        self.asked.send(lines).map_err(io::Error::other)?;
        match self.answers.recv() {
            Ok(true) => Ok(()),
            _ => Err(io::Error::other("no space")),
        }
    }

    fn name(&self) -> String {
        "audit.log".to_owned()
    }
}

fn audit(bytes: usize) -> (AuditLog, Receiver<String>, Sender<bool>) {
    counted(bytes, AuditMetrics::default())
}

fn counted(bytes: usize, metrics: AuditMetrics) -> (AuditLog, Receiver<String>, Sender<bool>) {
    let ((asked, written), (answer, answers)) = (channel(), channel());
    let out = Out { asked, answers };
    let log = AuditLog::to(out, Form::Json, bytes, metrics).unwrap();
    (log, written, answer)
}

fn record(log: &AuditLog, name: &str) -> Record {
    log.record("audit").text("name", name)
}

/// A journal line that may wait for long.
async fn journal(log: &AuditLog, name: &str) -> Result<(), String> {
    log.journal(record(log, name), Instant::now() + Duration::from_secs(600)).await
}

/// A journal line that is taken back at once.
async fn journal_until_now(log: &AuditLog, name: &str) {
    let late = log.journal(record(log, name), Instant::now()).await;
    assert_eq!(late.unwrap_err(), "audit.log: it is not written in time");
}

/// The names of lines.
fn names(lines: &str) -> Vec<String> {
    let name = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["name"].as_str().unwrap().to_owned()
    };
    lines.lines().map(name).collect()
}

#[tokio::test]
async fn a_journal_line_is_written_before_its_asker_goes_on() {
    let (log, written, answer) = audit(10_000);
    let asked = tokio::spawn({
        let log = log.clone();
        async move { journal(&log, "a").await }
    });
    tokio::task::yield_now().await;
    let lines = tokio::task::spawn_blocking(move || (written.recv().unwrap(), written));
    let (lines, written) = lines.await.unwrap();
    assert_eq!(names(&lines), ["a"]);
    assert!(!asked.is_finished());
    answer.send(true).unwrap();
    assert_eq!(asked.await.unwrap(), Ok(()));
    drop(written);
}

#[tokio::test]
async fn a_line_that_cannot_be_written_is_refused_and_one_that_tells_an_end_is_kept() {
    let (log, written, answer) = audit(10_000);
    answer.send(false).unwrap();
    let refused = journal(&log, "a").await.unwrap_err();
    assert_eq!(refused, "audit.log: no space");
    assert_eq!(names(&written.recv().unwrap()), ["a"]);
    log.audit(record(&log, "b"));
    assert_eq!(names(&written.recv().unwrap()), ["b"]);
    answer.send(false).unwrap();
    // It is tried again by itself.
    let again = tokio::task::spawn_blocking(move || (written.recv().unwrap(), written));
    let (again, written) = again.await.unwrap();
    assert_eq!(names(&again), ["b"]);
    answer.send(true).unwrap();
    answer.send(true).unwrap();
    assert_eq!(journal(&log, "c").await, Ok(()));
    assert_eq!(names(&written.recv().unwrap()), ["c"]);
}

#[tokio::test]
async fn what_waits_is_bounded_and_ends_have_room_that_the_journal_has_not() {
    let metrics = AuditMetrics::default();
    let (log, written, answer) = counted(4_000, metrics.clone());
    log.audit(record(&log, "first"));
    assert_eq!(names(&written.recv().unwrap()), ["first"]);
    // Nothing is written meanwhile.
    let long = "x".repeat(700);
    let asked = || {
        let (log, long) = (log.clone(), long.clone());
        tokio::spawn(async move { journal(&log, &long).await })
    };
    let (kept, also_kept, refused) = (asked(), asked(), asked());
    let refused = refused.await.unwrap().unwrap_err();
    assert_eq!(refused, "audit.log: too many lines wait to be written");
    assert!(!kept.is_finished() && !also_kept.is_finished());
    log.audit(record(&log, &long));
    log.audit(record(&log, &long));
    assert_eq!((metrics.refused.get(), metrics.lost.get()), (1, 0));
    log.audit(record(&log, &long));
    assert_eq!((metrics.refused.get(), metrics.lost.get()), (1, 1));
    answer.send(true).unwrap();
    assert_eq!(names(&written.recv().unwrap()).len(), 4, "two of the journal, and two ends");
    answer.send(true).unwrap();
    assert_eq!((kept.await.unwrap(), also_kept.await.unwrap()), (Ok(()), Ok(())));
}

#[tokio::test]
async fn who_stops_waiting_takes_its_line_back() {
    let (log, written, answer) = audit(10_000);
    log.audit(record(&log, "first"));
    assert_eq!(names(&written.recv().unwrap()), ["first"]);
    journal_until_now(&log, "given up").await;
    log.audit(record(&log, "second"));
    answer.send(true).unwrap();
    assert_eq!(names(&written.recv().unwrap()), ["second"]);
    answer.send(true).unwrap();
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle() {
    let (log, written, answer) = audit(10_000);
    log.audit(record(&log, "last"));
    drop(log);
    answer.send(true).unwrap();
    assert_eq!(names(&written.recv().unwrap()), ["last"]);
    let ended = tokio::task::spawn_blocking(move || written.recv().is_err());
    assert!(ended.await.unwrap());
}

#[tokio::test]
async fn a_line_that_cannot_be_written_at_the_end_is_lost() {
    let metrics = AuditMetrics::default();
    let (log, written, answer) = counted(10_000, metrics.clone());
    log.audit(record(&log, "last"));
    assert_eq!(names(&written.recv().unwrap()), ["last"]);
    drop(log);
    answer.send(false).unwrap();
    let ended = tokio::task::spawn_blocking(move || written.recv().is_err());
    assert!(ended.await.unwrap());
    assert_eq!(metrics.lost.get(), 1);
}

/// The numbers of lines, with their names.
fn numbers(lines: &str) -> Vec<(u64, String)> {
    let number = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["sequence"].as_u64().unwrap()
    };
    lines.lines().map(number).zip(names(lines)).collect()
}

#[tokio::test]
async fn a_number_is_given_once_and_one_that_is_missing_is_of_a_line_that_is_missing() {
    let (log, written, answer) = audit(1_000);
    let next = || numbers(&written.recv().unwrap());
    log.audit(record(&log, "first"));
    assert_eq!(next(), [(1, "first".to_owned())]);
    // Taken back: it never was to be a line.
    journal_until_now(&log, "given up").await;
    log.audit(record(&log, "second"));
    answer.send(false).unwrap();
    let tried = next();
    let both = [(1, "first".to_owned()), (2, "second".to_owned())];
    assert_eq!(tried, both, "the first, with its number, and one after it");
    // There is no room for it.
    log.audit(record(&log, &"x".repeat(1_000)));
    log.audit(record(&log, "fourth"));
    answer.send(true).unwrap();
    assert_eq!(next(), [(4, "fourth".to_owned())]);
    // What could not be written, and is not tried again, may be there in part.
    answer.send(true).unwrap();
    answer.send(false).unwrap();
    journal(&log, "fifth").await.unwrap_err();
    assert_eq!(next(), [(5, "fifth".to_owned())]);
    log.audit(record(&log, "sixth"));
    assert_eq!(next(), [(6, "sixth".to_owned())]);
    answer.send(true).unwrap();
}

//! The log over a writer that does what a test says.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::{
    Priority::{Access, Other, Urgent},
    *,
};

/// A writer that says what it is asked to write, and does it when it is let.
struct Out {
    asked: Sender<String>,
    answers: Option<Receiver<bool>>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.send(String::from_utf8(bytes.to_vec()).unwrap());
        match self.answers.as_ref().map(Receiver::recv) {
            None | Some(Ok(true)) => Ok(bytes.len()),
            Some(_) => Err(io::Error::other("full")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sink(bytes: usize) -> (Sink, Receiver<String>) {
    let (asked, written) = channel();
    let out = Out { asked, answers: None };
    (Sink::start(out, Form::Json, bytes, LogMetrics::default()).unwrap(), written)
}

/// A sink whose writer waits for an answer to each write, and has one on its hands.
fn stuck(bytes: usize) -> (Sink, Receiver<String>, Sender<bool>) {
    let ((asked, written), (answer, answers)) = (channel(), channel());
    let out = Out { asked, answers: Some(answers) };
    let sink = Sink::start(out, Form::Json, bytes, LogMetrics::default()).unwrap();
    sink.take(b"first\n", Urgent);
    assert_eq!(written.recv().unwrap(), "first\n");
    (sink, written, answer)
}

fn waiting(sink: &Sink) -> String {
    String::from_utf8(sink.0.waiting.lock().lines.clone()).unwrap()
}

#[test]
fn access_lines_wait_for_a_line_that_does_not_and_all_stay_in_order() {
    let (sink, written, answer) = stuck(1000);
    sink.take(b"a", Access);
    sink.take(b"b", Access);
    sink.take(b"c", Other);
    sink.take(b"d", Access);
    answer.send(true).unwrap();
    assert_eq!(written.recv().unwrap(), "abcd");
    answer.send(true).unwrap();
    sink.finish();
    assert_eq!(waiting(&sink), "");
}

#[test]
fn nothing_waits_forever() {
    let (sink, written) = sink(1000);
    for line in ["a", "b"] {
        sink.take(line.as_bytes(), Access);
        assert_eq!(written.recv().unwrap(), line);
    }
}

#[test]
fn many_access_lines_do_not_wait() {
    let (sink, written) = sink(1 << 20);
    let line = "x".repeat(BATCH);
    sink.take(line.as_bytes(), Access);
    assert_eq!(written.recv().unwrap().len(), BATCH);
}

// Regression: with the smallest buffer, lines were left out of a log that could be written.
#[test]
fn access_lines_wake_the_writer_before_their_room_is_full() {
    let (sink, _written, _answer) = stuck(2 * BATCH);
    while sink.0.waiting.lock().left_out.access == 0 {
        sink.take(&[b'x'; 1000], Access);
    }
    assert!(sink.0.waiting.lock().at_once);
}

#[test]
fn a_writer_that_is_stuck_costs_lines_and_no_time_and_access_lines_go_first() {
    let (sink, written, answer) = stuck(100);
    let ten = b"123456789\n";
    // Nothing is written meanwhile, so this would not end if it waited.
    for (priority, room) in [(Access, 50), (Other, 70), (Urgent, 100)] {
        for _ in 0..20 {
            sink.take(ten, priority);
        }
        assert_eq!(waiting(&sink).len(), room, "{priority:?}");
    }
    let left_out = sink.0.waiting.lock().left_out;
    assert_eq!(left_out, Numbers { access: 15, other: 35 });
    answer.send(true).unwrap();
    let text = written.recv().unwrap();
    let report = text.strip_prefix(&"123456789\n".repeat(10)).unwrap();
    assert!(report.contains("\"access_lines\":15,\"other_lines\":35"), "{report}");
    assert!(report.ends_with("}\n") && report.contains("\"level\":\"WARN\""), "{report}");
}

#[test]
fn another_bound_is_one_for_the_lines_that_come() {
    let (sink, written, answer) = stuck(100);
    sink.take(&[b'x'; 100], Urgent);
    sink.resize(50);
    sink.take(b"left out", Urgent);
    sink.resize(200);
    sink.take(&[b'y'; 100], Urgent);
    answer.send(true).unwrap();
    let text = written.recv().unwrap();
    let lines = ["x".repeat(100), "y".repeat(100)].concat();
    assert!(text.starts_with(&lines) && text.contains("\"other_lines\":1"), "{text}");
}

#[test]
fn lines_that_fail_are_counted_and_the_next_ones_are_written() {
    let (sink, written, answer) = stuck(1000);
    answer.send(false).unwrap();
    sink.take(b"second\n", Urgent);
    let text = written.recv().unwrap();
    assert!(text.starts_with("second\n{") && text.contains("\"other_lines\":1"), "{text}");
    answer.send(true).unwrap();
    sink.finish();
    assert!(sink.0.metrics.text().contains("log=\"other\",cause=\"failed\"} 1"));
}

#[test]
fn the_end_does_not_wait_for_a_writer_that_is_stuck() {
    let (sink, _written, _answer) = stuck(1000);
    sink.take(b"last\n", Urgent);
    // This returns.
    sink.finish();
    assert_eq!(waiting(&sink), "last\n");
}

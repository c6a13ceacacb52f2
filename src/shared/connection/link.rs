//! One connection, and a command on it within its time.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    COMMAND,
    failure::Failure,
    fault::{Connection, Fault},
    open::Opened,
};
use crate::shared::metrics::{LinkMetrics, SharedMetrics, Use};

/// One connection. Clones share it.
#[derive(Clone)]
pub struct Link {
    connection: MultiplexedConnection,
    driver: Arc<AbortOnDropHandle<()>>,
    /// When a command last ran out of time, if nothing was answered since.
    timed_out: Arc<Mutex<Option<Instant>>>,
    end: End,
    metrics: LinkMetrics,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("end", &self.end.why()).finish_non_exhaustive()
    }
}

/// Why connections that belong together have ended; all that have one end together.
#[derive(Debug, Clone)]
pub(super) struct End(watch::Sender<Option<Failure>>);

impl Default for End {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl End {
    /// Ends them. The first reason counts.
    pub(super) fn come(&self, why: &Failure) {
        self.0.send_if_modified(|end| {
            let is_first = end.is_none();
            end.get_or_insert_with(|| why.clone());
            is_first
        });
    }

    fn why(&self) -> Option<Failure> {
        self.0.borrow().clone()
    }

    /// Waits until they have ended.
    pub(super) async fn wait(&self) -> Failure {
        let mut end = self.0.subscribe();
        // The sender is there as long as this one.
        let why = end.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| Failure::new(Fault::ConnectionLost, ""))
    }
}

impl Link {
    pub(super) fn new(opened: Opened, used: Use, end: &End, metrics: &SharedMetrics) -> Self {
        Self {
            connection: opened.connection,
            driver: Arc::new(opened.driver),
            timed_out: Arc::default(),
            end: end.clone(),
            metrics: metrics.of(used),
        }
    }

    /// The answer to a command that does not block.
    ///
    /// # Errors
    ///
    /// When the server does not do it, or does not answer in time: then it may have been done, or
    /// may still be.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut connection = self.connection();
        self.within(COMMAND, command.query_async(&mut connection)).await
    }

    /// The answers to commands that are sent together and do not block.
    ///
    /// # Errors
    ///
    /// The same as of [`Self::ask`], for any of them.
    pub async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Failure> {
        let mut connection = self.connection();
        self.within(COMMAND, commands.query_async(&mut connection)).await
    }

    /// What a command of the library is sent on. It has to be awaited in [`Self::within`].
    #[must_use]
    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Waits for the answer to a command that was made with [`Self::connection`], for no longer
    /// than this. A command that blocks has to have [`COMMAND`] on top of what it may block.
    ///
    /// # Errors
    ///
    /// The same as of [`Self::ask`].
    pub async fn within<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, Failure> {
        if let Some(why) = self.end.why() {
            return Err(why);
        }
        let began = Instant::now();
        let answered = timeout(time, answer).await;
        self.metrics.duration.observe(began.elapsed().as_secs_f64());
        let failure = match answered {
            Ok(Ok(value)) => {
                self.answers();
                return Ok(value);
            }
            Ok(Err(error)) => self.refused(&Failure::of(&error)),
            Err(_) => self.ran_out_of_time(began, time),
        };
        self.metrics.failed(failure.fault);
        Err(failure)
    }

    fn answers(&self) {
        *self.timed_out.lock() = None;
    }

    fn refused(&self, failure: &Failure) -> Failure {
        if failure.fault != Fault::ConnectionLost {
            self.answers();
        }
        if failure.fault.facts().connection == Connection::Dropped {
            self.end.come(failure);
        }
        // What ends a connection tells more than that it has ended.
        let ended = self.end.why().filter(|_| failure.fault == Fault::ConnectionLost);
        ended.unwrap_or_else(|| failure.clone())
    }

    /// One pause of the server meets all commands under way, so only one that began after another
    /// had run out of time is the second. A time that the caller made short says nothing.
    fn ran_out_of_time(&self, began: Instant, time: Duration) -> Failure {
        let failure =
            Failure::new(Fault::TimedOut, format_args!("no answer within {} ms", time.as_millis()));
        if time < COMMAND {
            return failure;
        }
        let mut timed_out = self.timed_out.lock();
        match *timed_out {
            Some(before) if began >= before => self.end.come(&failure),
            Some(_) => {}
            None => *timed_out = Some(Instant::now()),
        }
        failure
    }

    /// Ends it: commands that wait for an answer fail at once.
    pub(super) fn close(&self) {
        self.driver.abort();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use redis::cmd;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::{shared::connection::open::driven, telemetry::Registry};

    /// A connection to a server that answers what it is made to.
    async fn linked() -> (Link, End, DuplexStream) {
        let (stream, server) = duplex(4096);
        let end = End::default();
        let metrics = SharedMetrics::register(&mut Registry::new("0.0.0"));
        let link = Link::new(driven(stream).await.unwrap(), Use::Commands, &end, &metrics);
        (link, end, server)
    }

    /// For a broken program, not for a slow one.
    const LONG: Duration = Duration::from_secs(30);

    /// Reads a `PING`, and answers it.
    async fn answer_with(server: &mut DuplexStream, answer: &str) {
        let mut request = *b"*1\r\n$4\r\nPING\r\n";
        server.read_exact(&mut request).await.unwrap();
        server.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    }

    async fn ping(link: &Link) -> Result<String, Fault> {
        link.ask(&cmd("PING")).await.map_err(|failure| failure.fault)
    }

    #[tokio::test(start_paused = true)]
    async fn one_pause_of_the_server_meets_all_commands_and_the_second_ends_the_connection() {
        let (link, end, _server) = linked().await;
        let late = Err(Fault::TimedOut);
        assert_eq!(join_all((0..9).map(|_| ping(&link))).await, vec![late.clone(); 9]);
        assert_eq!(end.why(), None, "the server may have paused once");
        assert_eq!(ping(&link).await, late);
        assert_eq!(end.why().map(|why| why.fault), Some(Fault::TimedOut));
        let now = Instant::now();
        assert_eq!(ping(&link).await, late);
        assert_eq!(now, Instant::now(), "it fails at once");
    }

    #[tokio::test]
    async fn what_another_connection_could_help_with_ends_this_one_with_the_answer() {
        for (answer, fault, ends) in [
            ("-READONLY You can't write against a read only replica.", Fault::IsReplica, true),
            ("-LOADING Redis is loading the dataset in memory", Fault::Loading, true),
            ("-MASTERDOWN Link with MASTER is down", Fault::PrimaryDown, true),
            ("-NOAUTH Authentication required.", Fault::CredentialsWanted, true),
            ("-NOPERM this user has no permissions", Fault::NotPermitted, false),
            ("-OOM command not allowed", Fault::OutOfMemory, false),
        ] {
            let (link, end, mut server) = linked().await;
            let (asked, ()) = tokio::join!(ping(&link), async {
                answer_with(&mut server, answer).await;
            });
            assert_eq!(asked, Err(fault), "{answer}");
            assert_eq!(end.why().map(|why| why.fault), ends.then_some(fault), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_moment_alone_learns_nothing_of_the_server() {
        let (link, end, _server) = linked().await;
        for _ in 0..3 {
            let mut connection = link.connection();
            let ping = cmd("PING");
            let asked = ping.query_async::<String>(&mut connection);
            let failure = link.within(Duration::from_millis(20), asked).await.unwrap_err();
            assert_eq!(failure.fault, Fault::TimedOut);
        }
        assert_eq!(end.why(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_between_two_pauses_shows_that_the_server_is_there() {
        let (link, end, mut server) = linked().await;
        let mut answer = async || answer_with(&mut server, "+PONG").await;
        for _ in 0..3 {
            assert_eq!(ping(&link).await, Err(Fault::TimedOut));
            assert_eq!(end.why(), None);
            // To the one that has given up, and to the next.
            let (asked, ()) = tokio::join!(ping(&link), async {
                answer().await;
                answer().await;
            });
            assert_eq!(asked.as_deref(), Ok("PONG"));
        }
        assert_eq!(end.why(), None);
    }

    #[tokio::test]
    async fn connections_that_belong_together_end_together_for_the_first_reason() {
        let (link, end, server) = linked().await;
        end.come(&Failure::new(Fault::IsReplica, "role is slave"));
        drop(server);
        assert_eq!(ping(&link).await, Err(Fault::IsReplica));
        end.come(&Failure::new(Fault::ConnectionLost, ""));
        assert_eq!(end.wait().await.fault, Fault::IsReplica);
    }

    #[tokio::test]
    async fn who_waits_for_an_answer_learns_at_once_why_there_will_be_none() {
        let (link, end, _server) = linked().await;
        let (asked, ()) = tokio::join!(
            link.within(LONG, async {
                cmd("PING").query_async::<String>(&mut link.connection()).await
            }),
            async {
                end.come(&Failure::new(Fault::Evicts, ""));
                link.close();
            }
        );
        assert_eq!(asked.unwrap_err().fault, Fault::Evicts);
    }
}

//! Where the server is, and how all connections to it are opened.

use tokio::time::timeout;

use super::{
    CONNECT,
    failure::Failure,
    fault::Fault,
    info::{self, Replication, ServerInfo},
    link::{End, Link},
    open::{Credentials, Place, open, places},
    sentinel::Watchers,
    tls::Tls,
};
use crate::{
    error::{Error, Reason, Result},
    shared::{
        metrics::{SharedMetrics, Use},
        settings::{Address, SharedSettings},
    },
};

/// The server that replicas share, as it is configured.
pub struct Server {
    place: Where,
    credentials: Credentials,
    database: u16,
    tls: Option<Tls>,
}

enum Where {
    Here(Address),
    Watched(Watchers),
}

/// The connections to one server, which begin and end together.
#[derive(Debug, Clone)]
pub struct Connections {
    /// For commands that do not block.
    pub commands: Link,
    /// For reading the log, which blocks: nothing else may be sent there. Who reads it has to wait
    /// no longer than it asked the server to block, and a little.
    pub log: Link,
    /// For what has to be waited for with `WAIT`, which counts the writes of its own connection and
    /// blocks it.
    pub durable: Link,
    end: End,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("place", &self.to_string()).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Where::Here(address) => address.fmt(f),
            Where::Watched(watchers) => write!(f, "{} of the Sentinels", watchers.master),
        }
    }
}

impl Server {
    /// As it is configured.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, or the settings name no server.
    pub fn new(settings: &SharedSettings) -> Result<Self> {
        let place = match (&settings.url, &settings.sentinels, &settings.master) {
            (Some(url), _, _) => Where::Here(url.address.clone()),
            (None, Some(sentinels), Some(master)) => Where::Watched(Watchers {
                sentinels: sentinels.clone(),
                master: master.clone(),
                credentials: Credentials {
                    user: settings.sentinel_user.clone(),
                    password: settings.sentinel_password.clone(),
                },
            }),
            _ => {
                let why = "the shared store has no `url`, and no `sentinels` with `master`";
                return Err(Error::new(Reason::GatewayInternal, why));
            }
        };
        let credentials =
            Credentials { user: settings.user.clone(), password: settings.password.clone() };
        let tls = settings.is_encrypted().then(|| Tls::of(&settings.tls)).transpose()?;
        Ok(Self { place, credentials, database: settings.database, tls })
    }

    /// Opens the connections to the primary, at the first of its addresses where there is one.
    pub(super) async fn connect(
        &self,
        metrics: &SharedMetrics,
    ) -> Result<(Connections, ServerInfo), Failure> {
        let address = match &self.place {
            Where::Here(address) => address.clone(),
            Where::Watched(watchers) => watchers.primary(self.tls.as_ref()).await?,
        };
        let late = |_| {
            Failure::new(Fault::ConnectTimeout, format_args!("{address}: {CONNECT:?} are over"))
        };
        let mut failure = Failure::new(Fault::NameNotResolved, "no address");
        for place in timeout(CONNECT, places(&address)).await.map_err(late)?? {
            let opened = timeout(CONNECT, self.open_all(&place, metrics)).await;
            match opened.map_err(late).flatten() {
                Ok(opened) => return Ok(opened),
                Err(told) => failure = told,
            }
        }
        Err(failure)
    }

    async fn open_all(
        &self,
        place: &Place,
        metrics: &SharedMetrics,
    ) -> Result<(Connections, ServerInfo), Failure> {
        let end = End::default();
        let (commands, server) = self.open_one(place, Use::Commands, &end, metrics).await?;
        let (log, of_log) = self.open_one(place, Use::Log, &end, metrics).await?;
        let (durable, of_durable) = self.open_one(place, Use::Durable, &end, metrics).await?;
        if of_log.run_id != server.run_id || of_durable.run_id != server.run_id {
            return Err(Failure::new(Fault::SeveralServers, "run_id differs"));
        }
        Ok((Connections { commands, log, durable, end }, server))
    }

    async fn open_one(
        &self,
        place: &Place,
        used: Use,
        end: &End,
        metrics: &SharedMetrics,
    ) -> Result<(Link, ServerInfo), Failure> {
        let opened = open(place, self.tls.as_ref(), &self.credentials, self.database).await?;
        let mut connection = opened.connection.clone();
        let asked: redis::RedisResult<String> =
            redis::cmd("INFO").query_async(&mut connection).await;
        let text = asked.map_err(|error| Failure::of_first_answer(&error))?;
        let server = info::of_server(&text)?;
        Ok((Link::new(opened, used, end, metrics), server))
    }
}

impl Connections {
    /// Asks the server whether all is as it was, on each connection that does not block.
    pub(super) async fn check(&self) -> Result<Replication, Failure> {
        let mut info = redis::cmd("INFO");
        info.arg(&info::SECTIONS);
        let ping = redis::cmd("PING");
        let (text, answer) =
            tokio::join!(self.commands.ask::<String>(&info), self.durable.ask::<String>(&ping));
        answer?;
        info::of_heartbeat(&text?)
    }

    /// Waits until they have ended.
    pub(super) async fn ended(&self) -> Failure {
        self.end.wait().await
    }

    /// Ends them: commands that wait for an answer fail at once.
    pub(super) fn close(&self, why: &Failure) {
        self.end.come(why);
        for link in [&self.commands, &self.log, &self.durable] {
            link.close();
        }
    }
}

//! Opens one connection: a socket, with TLS and credentials.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisResult, Value, aio::MultiplexedConnection,
};
use rustix::net::sockopt;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_util::task::AbortOnDropHandle;

use super::{failure::Failure, fault::Fault, tls::Tls};
use crate::shared::settings::Address;

/// How long what was sent may stay without an acknowledgement of TCP.
const USER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection is idle before TCP asks whether the other side is there, and how long
/// between two questions: some networks drop what is idle.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How many of these questions may stay without an answer.
const KEEPALIVE_PROBES: u32 = 3;
/// Commands that wait for their turn to be written.
const BUFFERED: usize = 1024;
/// Commands without an answer. Those beyond wait, within their time.
const IN_FLIGHT: usize = 4096;
/// More addresses of one name are not tried.
const MAX_ADDRESSES: usize = 8;

/// How the gateway shows who it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
}

/// An address that a connection can be opened to.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Tcp { host: Arc<str>, address: SocketAddr },
    Unix(PathBuf),
}

/// An open connection, with the task that drives it.
pub(super) struct Opened {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: AbortOnDropHandle<()>,
}

/// The places of an address.
pub(super) async fn places(address: &Address) -> Result<Vec<Place>, Failure> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(vec![Place::Unix(path.clone())]),
        Address::Tcp(host, port) => (host, *port),
    };
    let unresolved = |why: &dyn std::fmt::Display| {
        Failure::new(Fault::NameNotResolved, format_args!("{host}: {why}"))
    };
    let found = lookup_host((host.as_str(), port)).await.map_err(|error| unresolved(&error))?;
    let host: Arc<str> = host.as_str().into();
    let place = |address| Place::Tcp { host: Arc::clone(&host), address };
    let places: Vec<Place> = found.take(MAX_ADDRESSES).map(place).collect();
    match places.is_empty() {
        true => Err(unresolved(&"no address")),
        false => Ok(places),
    }
}

/// Opens a connection, and shows the credentials on it.
pub(super) async fn open(
    place: &Place,
    tls: Option<&Tls>,
    credentials: &Credentials,
    database: u16,
) -> Result<Opened, Failure> {
    let opened = match place {
        Place::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            driven(stream.map_err(|error| Failure::of_opening(&error))?).await?
        }
        Place::Tcp { host, address } => {
            let stream = connected(*address).await.map_err(|error| Failure::of_opening(&error))?;
            match tls {
                None => driven(stream).await?,
                Some(tls) => driven(tls.secure(host, stream).await?).await?,
            }
        }
    };
    introduce(opened.connection.clone(), credentials, database).await?;
    Ok(opened)
}

async fn connected(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Otherwise a part of a command waits until the part before it is acknowledged.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
    let milliseconds = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&stream, milliseconds)?;
    Ok(stream)
}

/// Lets the library speak over a stream.
pub(super) async fn driven<S>(stream: S) -> Result<Opened, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // It sends nothing by itself: it would send the name of the library before the password.
    let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new()
        // Each command has a time of its own.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(BUFFERED)
        .set_concurrency_limit(IN_FLIGHT);
    let opened = MultiplexedConnection::new_with_config(&silent, stream, config).await;
    let (connection, driver) = opened.map_err(|error| Failure::of(&error))?;
    Ok(Opened { connection, driver: AbortOnDropHandle::new(tokio::spawn(driver)) })
}

/// Shows the credentials, and chooses the database.
async fn introduce(
    mut connection: MultiplexedConnection,
    credentials: &Credentials,
    database: u16,
) -> Result<(), Failure> {
    let mut ask =
        async |command: Cmd| -> RedisResult<Value> { command.query_async(&mut connection).await };
    if let Some(password) = &credentials.password {
        let mut auth = redis::cmd("AUTH");
        if let Some(user) = &credentials.user {
            auth.arg(user);
        }
        auth.arg(password.expose_secret());
        // A server that does not know the command repeats what came with it.
        let refused = ask(auth).await.map_err(|error| Failure::of_secret(&error));
        refused?;
    }
    if database != 0 {
        let mut select = redis::cmd("SELECT");
        select.arg(database);
        ask(select).await.map_err(|error| Failure::of_first_answer(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_notices_that_the_other_side_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connected(listener.local_addr().unwrap()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), KEEPALIVE);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), KEEPALIVE_PROBES);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 2000);
    }

    #[tokio::test]
    async fn each_address_of_a_name_is_a_place() {
        let address = Address::Tcp("127.0.0.1".to_owned(), 6379);
        let found = places(&address).await.unwrap();
        assert!(matches!(&found[..], [Place::Tcp { address, .. }] if address.port() == 6379));
        let unknown = places(&Address::Tcp("redis.invalid".to_owned(), 6379)).await;
        assert_eq!(unknown.unwrap_err().fault, Fault::NameNotResolved);
    }
}

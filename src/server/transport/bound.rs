//! The sockets of a port: how they are bound, and what of them is left at the end.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt},
};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use super::stream::{Peer, Plain};
use crate::settings::ListenAddress;

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;
/// Whom a Unix socket is for: its owner and the group of the file.
const SOCKET_MODE: u32 = 0o660;

/// The sockets of a port.
#[derive(Debug)]
pub(super) struct Bound {
    sockets: Vec<Socket>,
    address: ListenAddress,
    /// The one that is asked first, so that each gets its turn.
    first: AtomicUsize,
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The same for another runtime.
#[derive(Debug)]
pub(crate) struct Unserved {
    sockets: Vec<UnservedSocket>,
    address: ListenAddress,
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum UnservedSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// Binds them.
    pub(super) async fn new(address: &ListenAddress) -> io::Result<Self> {
        let mut file = None;
        let sockets = match address {
            ListenAddress::Ip(address) => vec![TcpListener::bind(address).await?],
            ListenAddress::Localhost(port) => localhost(*port).await?,
            ListenAddress::All(port) => vec![all(*port).await?],
            ListenAddress::Unix(path) => {
                let (listener, own) = unix(path)?;
                file = Some(own);
                return Ok(Self::of(vec![Socket::Unix(listener)], address.clone(), file));
            }
        };
        let port = match sockets.first() {
            Some(socket) => socket.local_addr()?.port(),
            None => 0,
        };
        let sockets = sockets.into_iter().map(Socket::Tcp).collect();
        Ok(Self::of(sockets, address.clone().with_port(port), file))
    }

    fn of(sockets: Vec<Socket>, address: ListenAddress, file: Option<SocketFile>) -> Self {
        Self { sockets, address, first: AtomicUsize::new(0), file }
    }

    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<(Plain, Peer)> {
        let first = self.first.fetch_add(1, Ordering::Relaxed) % self.sockets.len().max(1);
        std::future::poll_fn(|cx| {
            let (before, after) = self.sockets.split_at(first);
            let accepted = after.iter().chain(before).map(|socket| socket.poll_accept(cx));
            let mut ready = accepted.filter(Poll::is_ready);
            ready.next().unwrap_or(Poll::Pending)
        })
        .await
    }

    pub(super) fn into_unserved(self) -> io::Result<Unserved> {
        let sockets = self.sockets.into_iter().map(|socket| {
            Ok(match socket {
                Socket::Tcp(listener) => UnservedSocket::Tcp(listener.into_std()?),
                Socket::Unix(listener) => UnservedSocket::Unix(listener.into_std()?),
            })
        });
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Unserved { sockets, address: self.address, file: self.file })
    }

    pub(super) fn of_unserved(unserved: Unserved) -> io::Result<Self> {
        let sockets = unserved.sockets.into_iter().map(|socket| {
            Ok(match socket {
                UnservedSocket::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener)?),
                UnservedSocket::Unix(listener) => Socket::Unix(UnixListener::from_std(listener)?),
            })
        });
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Self::of(sockets, unserved.address, unserved.file))
    }
}

impl Socket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Plain, Peer)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, address)| {
                // A socket of all addresses gives IPv4 ones as IPv6.
                let ip = address.ip().to_canonical();
                (Plain::Tcp(stream), Peer::Ip(SocketAddr::new(ip, address.port())))
            }),
            Self::Unix(listener) => listener.poll_accept(cx).map(|accepted| {
                let (stream, _) = accepted?;
                let uid = stream.peer_cred()?.uid();
                Ok((Plain::Unix(stream), Peer::User { uid }))
            }),
        }
    }
}

/// Both loopback addresses, as far as the system has them.
async fn localhost(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let chosen = first.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, chosen)).await {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if is_without_ipv6(&error) => Ok(vec![first]),
        // The system chose a port that is free at one of them.
        Err(error) if port == 0 && error.kind() == ErrorKind::AddrInUse => Ok(vec![first]),
        Err(error) => Err(error),
    }
}

/// All addresses, of IPv6 and of IPv4, whatever the system's default is.
async fn all(port: u16) -> io::Result<TcpListener> {
    let both = || {
        let socket = TcpSocket::new_v6()?;
        sockopt::set_ipv6_v6only(&socket, false)?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
        socket.listen(BACKLOG)
    };
    match both() {
        Err(error) if is_without_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    // One process at a time looks what is there and takes its place.
    let turn = File::open(directory)?;
    turn.lock()?;
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile::at(path)?;
    // Before it listens, so that no one else has connected.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    Ok((socket.listen(BACKLOG)?, file))
}

/// Removes the socket of a process that is gone. Anything else stays, and is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "there is a file of this name that is not a socket",
            ));
        }
        Ok(_) => {}
    }
    // Connecting waits where the queue of a process that lives is full.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Ok(()) | Err(Errno::AGAIN) => Err(ErrorKind::AddrInUse.into()),
        Err(error) => Err(error.into()),
    }
}

/// The file of a socket, which is removed when this is dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: file.dev(), inode: file.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not that of a process that has taken its place.
        let is_own = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode));
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket cannot be removed");
        }
    }
}

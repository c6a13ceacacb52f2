//! A client that does not hear that it has to leave: of what the server sends over HTTP/2, it gets
//! neither GOAWAY nor PING, so it acknowledges none and goes on to call.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;

use super::certificates::{channel_over, secured};

const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The one connection of such a client.
pub struct Deaf {
    pub channel: Channel,
    told: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Deaf {
    /// Connects over TLS. No other connection follows the first one.
    pub async fn connect(tls: TlsConnector, address: SocketAddr) -> Self {
        let [told, closed, opened] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let notes = (Arc::clone(&told), Arc::clone(&closed));
        let channel = channel_over(move || {
            let (tls, notes, again) = (tls.clone(), notes.clone(), opened.swap(true, SeqCst));
            async move {
                if again {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(filtered(secured(&tls, stream).await?, notes))
            }
        });
        Self { channel: channel.await.unwrap(), told, closed }
    }

    /// Whether the client was asked to leave.
    pub fn is_told(&self) -> bool {
        self.told.load(SeqCst)
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }
}

fn filtered<S>(stream: S, (told, closed): (Arc<AtomicBool>, Arc<AtomicBool>)) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (client, own) = duplex(64 * 1024);
    let (mut from_server, mut to_server) = tokio::io::split(stream);
    let (mut from_client, mut to_client) = tokio::io::split(own);
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    tokio::spawn(async move {
        while let Ok((kind, frame)) = next(&mut from_server).await {
            if kind == GOAWAY {
                told.store(true, SeqCst);
            }
            if ![PING, GOAWAY].contains(&kind) && to_client.write_all(&frame).await.is_err() {
                return;
            }
        }
        closed.store(true, SeqCst);
    });
    client
}

/// The next frame of the server, and its kind.
async fn next(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut frame = vec![0; 9];
    from.read_exact(&mut frame).await?;
    let (length, kind) = (u32::from_be_bytes([0, frame[0], frame[1], frame[2]]), frame[3]);
    frame.resize(9 + length as usize, 0);
    from.read_exact(&mut frame[9..]).await?;
    Ok((kind, frame))
}

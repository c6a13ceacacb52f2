//! HTTP/2 as bytes, for requests that no library would send: each header is literal, without
//! compression.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::child::patiently;

pub(super) const DATA: u8 = 0;
const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A connection, and the stream of its next call.
pub(super) struct Frames(TcpStream, u32);

impl Frames {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self(tcp, 1);
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Sends a gRPC call with these headers, those with a colon before all others.
    pub(super) async fn call(&mut self, headers: &[(&str, &str)], path: &str, body: &[u8]) {
        self.coded(&[&Self::block(headers, path)], body).await;
    }

    /// Sends the headers of a call whose message is still to come, and returns its stream.
    pub(super) async fn begin(&mut self, path: &str) -> u32 {
        self.begin_with(&[], path).await
    }

    /// The same with headers of its own.
    pub(super) async fn begin_with(&mut self, headers: &[(&str, &str)], path: &str) -> u32 {
        let stream = self.1;
        self.send(HEADERS, END_HEADERS, stream, &Self::block(headers, path)).await;
        self.1 += 2;
        stream
    }

    /// Sends so many calls, each of which is reset at once, and all of them together.
    pub(super) async fn begin_and_take_back(&mut self, path: &str, count: usize) {
        const CANCEL: [u8; 4] = [0, 0, 0, 8];
        let (mut bytes, block) = (Vec::new(), Self::block(&[], path));
        for _ in 0..count {
            bytes.extend(Self::frame(HEADERS, END_HEADERS, self.1, &block));
            bytes.extend(Self::frame(RST_STREAM, 0, self.1, &CANCEL));
            self.1 += 2;
        }
        self.0.write_all(&bytes).await.unwrap();
    }

    /// Sends so many pieces of a message that are empty, all of them together.
    pub(super) async fn empty_pieces(&mut self, stream: u32, count: usize) {
        let bytes = Self::frame(DATA, 0, stream, &[]).repeat(count);
        self.0.write_all(&bytes).await.unwrap();
    }

    /// Lets the server send as much as it wants, in all.
    pub(super) async fn makes_room(&mut self) {
        self.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()).await;
    }

    /// The next so many streams that the server ends, while the connection goes on.
    pub(super) async fn ended(&mut self, count: usize, what: &str) -> Vec<u32> {
        let mut ended = Vec::new();
        while ended.len() < count {
            let (kind, flags, stream, payload) =
                patiently(what, self.next_of()).await.unwrap_or_else(|error| {
                    panic!("{what}: after {} of {count}: {error}", ended.len())
                });
            assert_ne!(kind, GOAWAY, "{what}: {}", String::from_utf8_lossy(&payload));
            if [HEADERS, DATA].contains(&kind) && flags & END_STREAM != 0 {
                ended.push(stream);
            }
        }
        ended
    }

    /// How many bytes the headers take that are all of the answer on this stream.
    pub(super) async fn headers_of_last(&mut self, stream: u32) -> usize {
        patiently("an answer", async {
            loop {
                let (kind, flags, other, payload) = self.next_of().await.unwrap();
                if (kind, other) == (HEADERS, stream) {
                    assert_ne!(flags & END_STREAM, 0, "more than headers");
                    return payload.len();
                }
            }
        })
        .await
    }

    /// Sends a piece of a message, which ends the request if it is the last.
    pub(super) async fn piece(&mut self, stream: u32, bytes: &[u8], last: bool) {
        self.send(DATA, if last { END_STREAM } else { 0 }, stream, bytes).await;
    }

    fn block(headers: &[(&str, &str)], path: &str) -> Vec<u8> {
        let path = format!("/{path}");
        let own = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path.as_str()),
            ("content-type", "application/grpc"),
        ];
        let given = |name: &str| headers.iter().any(|(other, _)| *other == name);
        let own = own.iter().filter(|(name, _)| !given(name));
        let (pseudo, plain): (Vec<_>, Vec<_>) =
            own.chain(headers).partition(|(name, _)| name.starts_with(':'));
        let mut block = Vec::new();
        for (name, value) in pseudo.into_iter().chain(plain) {
            // RFC 7541, 6.2.2: not indexed, and the name is new.
            block.push(0);
            for text in [name, value] {
                // Longer texts would need a length of several bytes.
                block.push(u8::try_from(text.len()).ok().filter(|n| *n < 127).unwrap());
                block.extend(text.as_bytes());
            }
        }
        block
    }

    /// Sends a call whose headers are in so many frames, coded as they are here.
    pub(super) async fn coded(&mut self, blocks: &[&[u8]], body: &[u8]) {
        for (number, block) in blocks.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let flags = if number + 1 == blocks.len() { END_HEADERS } else { 0 };
            self.send(kind, flags, self.1, block).await;
        }
        self.send(DATA, END_STREAM, self.1, body).await;
        self.1 += 2;
    }

    /// The payload of the next frame of this type.
    pub(super) async fn until(&mut self, wanted: u8) -> Vec<u8> {
        let what = format!("a frame of type {wanted}");
        patiently(&what, async {
            loop {
                let (kind, payload) = self.next().await.unwrap();
                if kind == wanted {
                    return payload;
                }
            }
        })
        .await
    }

    /// Does what the protocol asks of a client, until the server closes the connection.
    pub(super) async fn until_closed(mut self) {
        while self.next().await.is_ok() {}
    }

    /// The type and the payload of the next frame, which is acknowledged if it has to be.
    async fn next(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        self.next_of().await.map(|(kind, _, _, payload)| (kind, payload))
    }

    /// The same with its flags and its stream.
    async fn next_of(&mut self) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
            PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload).await,
            _ => {}
        }
        Ok((kind, flags, u32::from_be_bytes(stream), payload))
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.write_all(&Self::frame(kind, flags, stream, payload)).await.unwrap();
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }
}

//! An upstream that leaves (GOAWAY) while a write is on its way. Speaks HTTP/2 by hand, because no
//! library lets a server choose the last stream that it names.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use h2::Reason;
use profile_gateway::pb::DeleteProfileRequest;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Request};

use super::{
    calls::{failure, named, profiles},
    upstreams::trusting,
};
use crate::kit::tls::{Authority, Speaks, acceptor};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
/// The first stream of a client, and the only one of a connection for a write.
const STREAM: u32 = 1;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
}

/// Reads requests to their ends, and then leaves with this code. Streams after `last` were not
/// processed; of others, the connection ends. Gives the bodies of all requests.
async fn leaving(
    tls: TlsAcceptor,
    last: u32,
    reason: Reason,
) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (tls, seen) = (tls.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let Ok(mut client) = tls.accept(client).await else { return };
                let Ok(body) = request(&mut client).await else { return };
                seen.lock().unwrap().push(body);
                let leave = [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
                let _ = client.write_all(&frame(GOAWAY, &leave)).await;
                if last < STREAM {
                    // Open until the client closes it.
                    let _ = client.read_to_end(&mut Vec::new()).await;
                }
                let _ = client.shutdown().await;
            });
        }
    });
    (address, bodies)
}

/// The body of the one request.
async fn request(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<Vec<u8>> {
    client.read_exact(&mut [0; 24]).await?;
    client.write_all(&frame(SETTINGS, &[])).await?;
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        client.read_exact(&mut payload).await?;
        if kind == DATA {
            body.extend(payload);
        }
        if [DATA, HEADERS].contains(&kind) && flags & END_STREAM != 0 {
            assert_eq!(u32::from_be_bytes(stream), STREAM);
            return Ok(body);
        }
    }
}

/// Deletes a profile of an upstream that leaves. Gives the outcome, and how often the write was
/// sent.
async fn deletion(last: u32, reason: Reason) -> (Code, String, usize) {
    let authority = Authority::new();
    let tls = acceptor(&authority.issue("127.0.0.1"), &Speaks::default());
    let (address, bodies) = leaving(tls, last, reason).await;
    let gateway = trusting(&authority.file(), &format!("https://{address}")).await;
    let name = named("SP_2").name;
    let mut call = Request::new(DeleteProfileRequest { name, ..Default::default() });
    call.set_timeout(Duration::from_secs(5));
    let status = profiles(&gateway).await.delete_profile(call).await.unwrap_err();
    let (code, reason, _) = failure(&status);
    let bodies = bodies.lock().unwrap();
    // Those that resolve the outcome are others.
    (code, reason, bodies.iter().filter(|body| **body == bodies[0]).count())
}

#[tokio::test]
async fn a_write_beyond_the_last_stream_is_definite_and_sent_again() {
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let (code, what, sent) = deletion(0, reason).await;
        assert_eq!((code, what.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{reason}");
        assert_eq!(sent, 3, "one for each attempt: {reason}");
    }
}

#[tokio::test]
async fn a_write_up_to_the_last_stream_may_have_happened_and_is_never_sent_again() {
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let (_, what, sent) = deletion(STREAM, reason).await;
        assert_eq!((what.as_str(), sent), ("WRITE_OUTCOME_UNKNOWN", 1), "{reason}");
    }
}

//! What TLS and HTTP/2 say for certain of a request that got no reply: that it was not processed,
//! and why.

use std::error::Error;

use super::{
    causes::find,
    fault::{self, Unconnected},
};

/// Why the upstream did not process a request.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Unprocessed {
    /// There is no connection that could serve it.
    Connection(Unconnected),
    /// The upstream refused the stream before it did anything: the request may be sent again (RFC
    /// 9113, 8.7).
    Stream,
    /// The connection ended before it took the request.
    Untaken,
}

/// How far a request got before it failed, as far as the gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Progress {
    /// There was no connection yet.
    Connecting,
    /// There was one.
    Connected,
    /// The connection asked for the request's body.
    Begun,
}

impl Progress {
    /// Where it failed: in connecting, or after the connection had begun to ask for the body.
    pub(in crate::upstream) fn of(connecting: bool, begun: bool) -> Self {
        match (connecting, begun) {
            (true, _) => Self::Connecting,
            (false, false) => Self::Connected,
            (false, true) => Self::Begun,
        }
    }
}

/// What the error says for certain; `None` if the request may have been processed. `certified`: the
/// gateway has a client certificate.
pub(in crate::upstream) fn unprocessed(
    error: &(dyn Error + 'static),
    progress: Progress,
    certified: bool,
) -> Option<Unprocessed> {
    if let Some(why) = fault::tls(error, progress == Progress::Connecting, certified) {
        return Some(Unprocessed::Connection(why));
    }
    if find::<rustls::Error>(error).is_some() {
        return None;
    }
    if let Some(reset) = find::<h2::Error>(error) {
        return refused(reset, progress).then_some(Unprocessed::Stream);
    }
    // These give the request back whole: no connection has begun to send it.
    let taken = find::<hyper::Error>(error)?;
    (taken.is_closed() || taken.is_canceled()).then_some(Unprocessed::Untaken)
}

/// Whether the upstream has told that it did not process the stream.
///
/// A GOAWAY tells it of all streams above the last one that it names. h2 ends each of those with
/// the GOAWAY, and the others, when the connection ends, with an error of IO. But it also ends with
/// the GOAWAY what it has not quite handed over, and that may be a stream which the upstream has
/// processed by then: headers can leave, and be answered, before the call that sends them is back.
/// The body comes after that. So a GOAWAY proves something of a request whose body has begun.
fn refused(reset: &h2::Error, progress: Progress) -> bool {
    let is_refusal = reset.is_reset() && reset.reason() == Some(h2::Reason::REFUSED_STREAM);
    let is_above_last = reset.is_go_away() && progress == Progress::Begun;
    reset.is_remote() && (is_refusal || is_above_last)
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use hyper::client::conn::http1::handshake;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_request_that_the_connection_did_not_take_was_not_processed() {
        let connect = async || {
            let (client, server) = tokio::io::duplex(1024);
            let handshake = handshake::<_, Full<Bytes>>(TokioIo::new(client));
            let (sender, connection) = handshake.await.unwrap();
            (sender, connection, server)
        };
        let (mut sender, connection, _) = connect().await;
        drop(connection);
        let untaken = Some(Unprocessed::Untaken);
        let error = sender.send_request(Request::default()).await.unwrap_err();
        assert_eq!(unprocessed(&error, Progress::Connected, false), untaken, "{error}");
        let error = sender.ready().await.unwrap_err();
        assert_eq!(unprocessed(&error, Progress::Connected, false), untaken, "{error}");

        // One that was taken may have been processed.
        let (mut sender, connection, mut server) = connect().await;
        let connection = tokio::spawn(connection);
        let sent = sender.send_request(Request::default());
        let leave = async {
            server.read_exact(&mut [0; 3]).await.unwrap();
            drop(server);
        };
        let error = tokio::join!(sent, leave).0.unwrap_err();
        assert_eq!(unprocessed(&error, Progress::Begun, false), None, "{error}");
        drop(connection.await);
    }

    #[test]
    fn only_a_refused_stream_was_not_processed() {
        let own = h2::Error::from(h2::Reason::REFUSED_STREAM);
        assert_eq!(unprocessed(&own, Progress::Begun, false), None, "not said by the upstream");
        assert_eq!(unprocessed(&io::Error::other("reset"), Progress::Begun, false), None);
    }
}

//! What TLS and HTTP/2 say for certain of a request that got no reply: that it was not processed,
//! and why.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError};

/// Why the upstream did not process a request.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Unprocessed {
    /// There is no secure connection, and another attempt would find none either.
    Tls(String),
    /// The upstream refused the stream before it did anything: the request may be sent again (RFC
    /// 9113, 8.7).
    Stream,
    /// The connection ended before it took the request.
    Untaken,
}

/// What is wrong with an upstream that does not answer without a client certificate.
pub(in crate::upstream) const CERTIFICATE_WANTED: &str =
    "it wants a client certificate, and the gateway has none";

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

/// What the error says for certain; `None` if the request may have been processed.
pub(in crate::upstream) fn unprocessed(
    error: &(dyn Error + 'static),
    progress: Progress,
) -> Option<Unprocessed> {
    if let Some(error) = find::<rustls::Error>(error) {
        return tls(error, progress == Progress::Connecting).map(Unprocessed::Tls);
    }
    // Of an error of IO, HTTP/2 keeps only the text. No upstream can make that text up.
    let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired).to_string();
    if find::<io::Error>(error).is_some_and(|error| error.to_string() == alert) {
        return Some(Unprocessed::Tls(CERTIFICATE_WANTED.to_owned()));
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

fn tls(error: &rustls::Error, connecting: bool) -> Option<String> {
    let what = match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        // TLS 1.3 asks after the client has sent, and handles nothing before it has an answer.
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            CERTIFICATE_WANTED.to_owned()
        }
        // On a connection that works, anything else may come after the request was processed.
        _ if !connecting => return None,
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "it refuses the TLS handshake: it may want a client certificate, or a TLS version or \
             cipher that the gateway does not have"
                .to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it does not serve the host name of base_url".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("it ended the TLS handshake with the alert {alert:?}")
        }
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS at the address of base_url, which may have to begin with http:"
                .to_owned()
        }
        rustls::Error::PeerIncompatible(_) => {
            "it has no TLS version or cipher in common with the gateway".to_owned()
        }
        other => format!("the TLS handshake failed: {other}"),
    };
    Some(what)
}

fn certificate(error: &CertificateError) -> String {
    let what = match error {
        CertificateError::UnknownIssuer => {
            "was issued by an authority that the gateway does not trust (unknown issuer)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another host name than that of base_url (name mismatch)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; check the clocks"
        }
        CertificateError::Revoked => "was revoked",
        other => return format!("its certificate is not accepted: {other}"),
    };
    format!("its certificate {what}")
}

/// The cause of this type, also where an error of IO or HTTP/2 wraps it.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.into_iter().find_map(|cause| {
        let mut inner = Some(cause);
        while let Some(cause) = inner {
            if let Some(found) = cause.downcast_ref() {
                return Some(found);
            }
            let io = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let h2 = || cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
            inner = match io {
                Some(inner) => Some(inner as &(dyn Error + 'static)),
                None => h2().map(|inner| inner as &(dyn Error + 'static)),
            };
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use hyper::client::conn::http1::handshake;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn said(error: rustls::Error, progress: Progress) -> Option<String> {
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        match unprocessed(&wrapped, progress)? {
            Unprocessed::Tls(what) => Some(what),
            Unprocessed::Stream | Unprocessed::Untaken => None,
        }
    }

    #[test]
    fn tls_faults_are_told_apart() {
        let invalid = rustls::Error::InvalidCertificate;
        let alert = rustls::Error::AlertReceived;
        for (error, expected) in [
            (invalid(CertificateError::UnknownIssuer), "unknown issuer"),
            (invalid(CertificateError::NotValidForName), "name mismatch"),
            (invalid(CertificateError::Expired), "has expired"),
            (invalid(CertificateError::NotValidYet), "not valid yet"),
            (invalid(CertificateError::Revoked), "revoked"),
            (invalid(CertificateError::BadEncoding), "not accepted"),
            (alert(AlertDescription::CertificateRequired), "wants a client certificate"),
            (alert(AlertDescription::HandshakeFailure), "may want a client certificate"),
            (alert(AlertDescription::UnrecognisedName), "host name"),
            (alert(AlertDescription::InternalError), "InternalError"),
        ] {
            let message = said(error.clone(), Progress::Connecting).unwrap_or_default();
            assert!(message.contains(expected), "{error:?}: {message}");
        }
    }

    #[test]
    fn an_alert_on_a_connection_that_works_proves_nothing() {
        for alert in [AlertDescription::InternalError, AlertDescription::HandshakeFailure] {
            assert_eq!(said(rustls::Error::AlertReceived(alert), Progress::Begun), None);
        }
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        assert!(said(alert, Progress::Begun).is_some());
    }

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
        assert_eq!(unprocessed(&error, Progress::Connected), untaken, "{error}");
        let error = sender.ready().await.unwrap_err();
        assert_eq!(unprocessed(&error, Progress::Connected), untaken, "{error}");

        // One that was taken may have been processed.
        let (mut sender, connection, mut server) = connect().await;
        let connection = tokio::spawn(connection);
        let sent = sender.send_request(Request::default());
        let leave = async {
            server.read_exact(&mut [0; 3]).await.unwrap();
            drop(server);
        };
        let error = tokio::join!(sent, leave).0.unwrap_err();
        assert_eq!(unprocessed(&error, Progress::Begun), None, "{error}");
        drop(connection.await);
    }

    #[test]
    fn a_wanted_certificate_is_named_also_where_only_the_text_is_left() {
        let error = |alert| {
            let text = rustls::Error::AlertReceived(alert).to_string();
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let named = Some(Unprocessed::Tls(CERTIFICATE_WANTED.to_owned()));
        assert_eq!(
            unprocessed(&error(AlertDescription::CertificateRequired), Progress::Begun),
            named
        );
        assert_eq!(unprocessed(&error(AlertDescription::InternalError), Progress::Begun), None);
    }

    #[test]
    fn only_a_refused_stream_was_not_processed() {
        let own = h2::Error::from(h2::Reason::REFUSED_STREAM);
        assert_eq!(unprocessed(&own, Progress::Begun), None, "not said by the upstream");
        assert_eq!(unprocessed(&io::Error::other("reset"), Progress::Begun), None);
    }
}

//! How a connection begins: with a TLS handshake or without one, as its port has it.
//!
//! Handshakes have a bound of their own, in which callers take turns, so that clients that begin
//! one and do not go on keep no other out. No line of the log has a byte of a client.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use rustls::{CertificateError, Error, server::Acceptor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    rarely::Rarely,
    stream::{Client, Plain, Stream},
};
use crate::{
    caller::{CallerId, Turns},
    server::{
        metrics::{Closed, HandshakeFailure, HandshakeMetrics, PortMetrics},
        settings::HandshakeLimits,
        tls::{Acceptance, CurrentTls, Oversized},
    },
    telemetry::LabelValue as _,
};

/// The first byte of a client that speaks TLS: the type of a record (RFC 8446, 5.1). No method of
/// HTTP begins with it.
const TLS: u8 = 22;
const H2: &[u8] = b"h2";
/// The alert `no_application_protocol` (RFC 7301, 3.2), before anything is encrypted.
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];
/// For clients that do not speak TLS. What cannot read it may show it.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 21\r\nconnection: close\r\n\r\nthis port speaks TLS\n";

/// For so long a handshake keeps its turn while others wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long, and for how many bytes, a client is listened to after it was refused: if it were not,
/// the system would take back what it was told.
const PARTING: Duration = Duration::from_secs(1);
const PARTING_BYTES: u64 = 64 * 1024;

/// How the connections of a port begin.
pub(super) struct Beginning {
    handshakes: Option<Handshakes>,
    metrics: PortMetrics,
    unexpected: Rarely,
}

/// What the TLS handshakes of a port are made of.
#[derive(Debug)]
pub(super) struct Handshaking {
    pub tls: CurrentTls,
    pub limits: HandshakeLimits,
    pub metrics: HandshakeMetrics,
}

/// The TLS handshakes of a port.
struct Handshakes {
    tls: CurrentTls,
    turns: Turns,
    limit: Duration,
    metrics: HandshakeMetrics,
    failed: HashMap<HandshakeFailure, Rarely>,
}

impl Beginning {
    pub(super) fn new(tls: Option<Handshaking>, metrics: PortMetrics) -> Self {
        let handshakes = tls.map(|Handshaking { tls, limits, metrics }| Handshakes {
            tls,
            turns: Turns::of(limits.max_handshakes),
            limit: limits.handshake_timeout,
            metrics,
            failed: HandshakeFailure::all()
                .into_iter()
                .map(|kind| (kind, Rarely::default()))
                .collect(),
        });
        Self { handshakes, metrics, unexpected: Rarely::default() }
    }

    /// Makes a connection whose first byte has come ready for HTTP, until this time. Notes what the
    /// client's certificate proves, and over TLS by what the client was accepted.
    pub(super) async fn begin(
        &self,
        stream: Plain,
        first: u8,
        until: Instant,
        client: &mut Client,
    ) -> Result<Stream, Closed> {
        match &self.handshakes {
            Some(handshakes) => {
                let done = handshakes.make(stream, first, until, client.caller.id()).await;
                let (stream, acceptance) = done.map_err(|kind| {
                    self.failed(handshakes, kind, client);
                    Closed::Handshake
                })?;
                client.certificate.clone_from(&acceptance.certificate);
                match client.closing.accept(acceptance) {
                    None => Ok(Stream::Tls(Box::new(stream))),
                    Some(lapse) => Err(lapse.into()),
                }
            }
            None if first == TLS => {
                self.unexpected(client);
                part(stream).await;
                Err(Closed::Tls)
            }
            None => Ok(Stream::Plain(stream)),
        }
    }

    fn failed(&self, handshakes: &Handshakes, kind: HandshakeFailure, client: &Client) {
        handshakes.metrics.failed(kind);
        if let Some(times) = handshakes.failed.get(&kind).and_then(Rarely::happened) {
            tracing::warn!(
                port = self.metrics.port(),
                peer = client.peer.without_port(),
                kind = kind.name(),
                times,
                "TLS handshakes failed: {}",
                why(kind)
            );
        }
    }

    fn unexpected(&self, client: &Client) {
        if let Some(times) = self.unexpected.happened() {
            tracing::warn!(
                port = self.metrics.port(),
                peer = client.peer.without_port(),
                times,
                "closed connections of clients that speak TLS: this port does not"
            );
        }
    }
}

type Done = (TlsStream<Plain>, Acceptance);

impl Handshakes {
    async fn make(
        &self,
        mut stream: Plain,
        first: u8,
        until: Instant,
        caller: CallerId,
    ) -> Result<Done, HandshakeFailure> {
        if first != TLS {
            let _ = timeout_at(until, stream.write_all(SPEAK_TLS)).await;
            part(stream).await;
            return Err(HandshakeFailure::Plaintext);
        }
        let until = until.min(Instant::now() + self.limit);
        let in_time = timeout_at(until, async {
            let _turn = self.turns.wait(caller).await;
            tokio::select! {
                done = self.accept(stream) => done,
                () = self.waited_for(caller) => Err((HandshakeFailure::Room, None)),
            }
        });
        // The turn is over.
        match in_time.await.unwrap_or(Err((HandshakeFailure::Timeout, None))) {
            Ok(done) => Ok(done),
            Err((kind, stream)) => {
                if let Some(stream) = stream {
                    part(stream).await;
                }
                Err(kind)
            }
        }
    }

    async fn accept(&self, stream: Plain) -> Result<Done, (HandshakeFailure, Option<Plain>)> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let mut hello = hello.await.map_err(|error| (kind(&error), None))?;
        // The library takes clients that offer no protocol at all.
        let speaks_h2 =
            hello.client_hello().alpn().is_some_and(|mut offered| offered.any(|name| name == H2));
        if !speaks_h2 {
            let _ = hello.io.write_all(&NO_APPLICATION_PROTOCOL).await;
            return Err((HandshakeFailure::Alpn, Some(hello.io)));
        }
        let offer = self.tls.offer();
        let done = hello.into_stream(Arc::clone(&offer.config)).into_fallible().await;
        let stream = done.map_err(|(error, stream)| (kind(&error), Some(stream)))?;
        let (_, connection) = stream.get_ref();
        // Its certificate has been parsed before, to verify it.
        let acceptance = offer.accept(connection.peer_certificates());
        Ok((stream, acceptance.ok_or((HandshakeFailure::Certificate, None))?))
    }

    /// Returns when others wait for a turn, and this one has had it for long.
    async fn waited_for(&self, caller: CallerId) {
        loop {
            sleep(PATIENCE).await;
            if self.turns.who_waits(caller) != (false, false) {
                return;
            }
        }
    }
}

/// Lets a client read why it was refused.
async fn part(mut stream: Plain) {
    let parting = async {
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(PARTING_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = timeout(PARTING, parting).await;
}

/// Why a handshake failed.
fn kind(error: &io::Error) -> HandshakeFailure {
    use HandshakeFailure as Kind;

    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        None => Kind::Left,
        Some(Error::NoCertificatesPresented) => Kind::NoCertificate,
        Some(Error::NoApplicationProtocol) => Kind::Alpn,
        Some(Error::AlertReceived(_)) => Kind::Refused,
        Some(Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Kind::UnknownIssuer,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Kind::Expired,
            CertificateError::Revoked => Kind::Revoked,
            CertificateError::UnknownRevocationStatus => Kind::NoRevocationList,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Kind::Purpose
            }
            CertificateError::ApplicationVerificationFailure => Kind::Identity,
            CertificateError::Other(other) if other.0.is::<Oversized>() => Kind::Oversized,
            _ => Kind::Certificate,
        },
        Some(
            Error::PeerIncompatible(_)
            | Error::PeerMisbehaved(_)
            | Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerSentOversizedRecord
            | Error::DecryptError,
        ) => Kind::Protocol,
        Some(_) => Kind::Other,
    }
}

/// The same for people.
fn why(kind: HandshakeFailure) -> &'static str {
    match kind {
        HandshakeFailure::Plaintext => "the client does not speak TLS, and this port does",
        HandshakeFailure::Timeout => "they took longer than `handshake_timeout`",
        HandshakeFailure::Room => "they took long while others waited for their turn",
        HandshakeFailure::Left => "the client left",
        HandshakeFailure::Alpn => "the client did not offer the protocol `h2` (ALPN)",
        HandshakeFailure::Protocol => {
            "the client and the gateway have no version or cipher in common, or the client broke \
             the rules"
        }
        HandshakeFailure::Refused => {
            "the client refused, perhaps because it does not trust the gateway's certificate"
        }
        HandshakeFailure::NoCertificate => "the client showed no certificate",
        HandshakeFailure::UnknownIssuer => {
            "no authority of `client_ca` has signed the client's certificate"
        }
        HandshakeFailure::Expired => "the client's certificate has expired, or is not valid yet",
        HandshakeFailure::Revoked => "the client's certificate was revoked",
        HandshakeFailure::NoRevocationList => {
            "`client_crl` has no list of the authority of the client's certificate"
        }
        HandshakeFailure::Purpose => "the client's certificate is not for clients",
        HandshakeFailure::Identity => {
            "the client's certificate does not name exactly one workload, or not one of \
             `trust_domain`"
        }
        HandshakeFailure::Oversized => "the client's certificates have more than 16 KiB together",
        HandshakeFailure::Certificate => "the client's certificate cannot be used",
        HandshakeFailure::Other => "something else failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_in_its_own_words() {
        let all = HandshakeFailure::all();
        let told: std::collections::HashSet<&str> = all.iter().copied().map(why).collect();
        assert_eq!(told.len(), all.len());
    }

    #[test]
    fn what_the_library_does_not_say_is_a_client_that_left() {
        let left = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&left), HandshakeFailure::Left);
        let general = io::Error::other(Error::General("text".to_owned()));
        assert_eq!(kind(&general), HandshakeFailure::Other);
    }
}

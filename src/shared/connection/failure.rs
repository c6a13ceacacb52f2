//! What failed, as the server, the library, TLS, or the network says it.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::{AlertDescription, Error as TlsError};

use super::fault::Fault;
use crate::{
    error::{Error, Reason},
    text,
};

/// A fault, with what was said of it. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What keeps the replica from the store.
    pub fault: Fault,
    /// What the server or the network said. For the log.
    detail: Option<Arc<str>>,
}

impl Failure {
    /// `detail` may come from anywhere, and is for the log.
    #[must_use]
    pub fn new(fault: Fault, detail: impl fmt::Display) -> Self {
        Self { fault, detail: text::presentable(&detail.to_string()).map(Arc::from) }
    }

    /// The error of a call: what could not be done, and what was not done for it.
    #[must_use]
    pub fn error(&self, what: &str, so: &str) -> Error {
        let why = self.fault.facts().why;
        Error::new(Reason::StoreUnavailable, format!("{what}, because {why}; {so}"))
            .with_internal(self)
    }

    /// The same as another fault.
    pub(super) fn with_fault(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// Of what a server answered, or of the end of the connection.
    pub(super) fn of(error: &RedisError) -> Self {
        let fault = match error.kind() {
            ErrorKind::Server(kind) => of_kind(kind, error.detail().unwrap_or_default()),
            ErrorKind::Io => Fault::ConnectionLost,
            ErrorKind::Extension => of_code(error.code().unwrap_or_default()),
            ErrorKind::Parse | ErrorKind::RESP3NotSupported => Fault::NotRedis,
            _ => Fault::Refused,
        };
        match error.code() {
            // As the server says it.
            Some(code) => {
                let rest = error.detail().unwrap_or_default();
                Self::new(fault, format_args!("{code} {rest}"))
            }
            None => Self::new(fault, error),
        }
    }

    /// The same of the answer to a command with a secret, which it may repeat.
    pub(super) fn of_secret(error: &RedisError) -> Self {
        let Self { fault, .. } = Self::of_first_answer(error);
        let detail = error.code().map(|code| text::cut(code, 32).into_owned().into());
        // `ERR AUTH called without any password configured for the default user`.
        let fault = match fault {
            Fault::Refused => Fault::CredentialsRefused,
            fault => fault,
        };
        Self { fault, detail }
    }

    /// Why a socket was not opened.
    pub(super) fn of_opening(error: &io::Error) -> Self {
        let fault = match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            Some(tls) => of_tls(tls),
            None if error.kind() == io::ErrorKind::TimedOut => Fault::ConnectTimeout,
            None => Fault::Unreachable,
        };
        Self::new(fault, error)
    }

    /// Why there was no TLS over a socket.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        let failure = Self::of_opening(error);
        match failure.fault {
            Fault::Unreachable => failure.with_fault(Fault::TlsHandshake),
            _ => failure,
        }
    }

    /// The same of an error of the library for what came with the first answer: in TLS 1.3, a
    /// server refuses a client certificate only then.
    pub(super) fn of_first_answer(error: &RedisError) -> Self {
        // The library shares its causes.
        let cause = error.source().and_then(|source| source.downcast_ref::<Cause>());
        let io = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        match io.map(Self::of_opening) {
            Some(failure) if failure.fault == Fault::ClientCertificate => failure,
            _ => Self::of(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.fault.facts();
        f.write_str(facts.why)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        write!(f, "; {}", facts.remedy)
    }
}

impl StdError for Failure {}

/// What the library has for the cause of an error.
type Cause = Arc<dyn StdError + Send + Sync>;

fn of_kind(kind: ServerErrorKind, detail: &str) -> Fault {
    match kind {
        ServerErrorKind::BusyLoading => Fault::Loading,
        ServerErrorKind::MasterDown => Fault::PrimaryDown,
        ServerErrorKind::ReadOnly => Fault::IsReplica,
        ServerErrorKind::NoPerm => Fault::NotPermitted,
        ServerErrorKind::Moved
        | ServerErrorKind::Ask
        | ServerErrorKind::TryAgain
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::CrossSlot => Fault::IsCluster,
        ServerErrorKind::ResponseError if detail.contains("max number of clients") => {
            Fault::TooManyClients
        }
        // A command within a script; releases say it in different words.
        ServerErrorKind::ResponseError if is_of_acl(detail) => Fault::NotPermitted,
        _ => Fault::Refused,
    }
}

fn is_of_acl(detail: &str) -> bool {
    detail.starts_with("The user executing the script can't")
        || detail.starts_with("ACL failure in script")
}

/// Of the codes that the library has no kind for.
fn of_code(code: &str) -> Fault {
    match code {
        "NOAUTH" => Fault::CredentialsWanted,
        "WRONGPASS" => Fault::CredentialsRefused,
        "OOM" => Fault::OutOfMemory,
        "MISCONF" => Fault::DiskFailed,
        "NOREPLICAS" => Fault::TooFewReplicas,
        "BUSY" => Fault::Busy,
        // A server that becomes a replica says this to the clients that wait.
        "UNBLOCKED" => Fault::IsReplica,
        _ => Fault::Refused,
    }
}

fn of_tls(error: &TlsError) -> Fault {
    match error {
        TlsError::InvalidCertificate(_) => Fault::CertificateNotAccepted,
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => Fault::ClientCertificate,
        _ => Fault::TlsHandshake,
    }
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, Value};

    use super::*;

    /// What the library makes of an error that a server sends.
    fn answered(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let Value::ServerError(error) = value else { panic!("{value:?}") };
        error.into()
    }

    #[test]
    fn the_answers_of_servers_are_told_apart() {
        for (line, fault) in [
            ("NOAUTH Authentication required.", Fault::CredentialsWanted),
            ("WRONGPASS invalid username-password pair", Fault::CredentialsRefused),
            ("NOPERM User x has no permissions to run the 'info' command", Fault::NotPermitted),
            (
                "ERR The user executing the script can't run this command or subcommand script: f",
                Fault::NotPermitted,
            ),
            ("ERR ACL failure in script: User x has no permissions to run", Fault::NotPermitted),
            ("READONLY You can't write against a read only replica.", Fault::IsReplica),
            ("UNBLOCKED force unblock from blocking operation", Fault::IsReplica),
            ("LOADING Redis is loading the dataset in memory", Fault::Loading),
            ("MASTERDOWN Link with MASTER is down", Fault::PrimaryDown),
            ("NOREPLICAS Not enough good replicas to write.", Fault::TooFewReplicas),
            ("OOM command not allowed when used memory > 'maxmemory'.", Fault::OutOfMemory),
            ("MISCONF Redis is configured to save RDB snapshots", Fault::DiskFailed),
            ("BUSY Redis is busy running a script.", Fault::Busy),
            ("ERR max number of clients reached", Fault::TooManyClients),
            ("MOVED 3999 127.0.0.1:6381", Fault::IsCluster),
            ("CROSSSLOT Keys in request don't hash to the same slot", Fault::IsCluster),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Fault::IsCluster),
            ("CLUSTERDOWN Hash slot not served", Fault::IsCluster),
            ("ERR DB index is out of range", Fault::Refused),
            ("WEIRD as no release says it", Fault::Refused),
        ] {
            let failure = Failure::of(&answered(line));
            assert_eq!(failure.fault, fault, "{line}");
            assert!(failure.to_string().contains(line), "{failure}");
        }
        let parse = RedisError::from((ErrorKind::Parse, "not a reply"));
        assert_eq!(Failure::of(&parse).fault, Fault::NotRedis);
    }

    #[test]
    fn what_repeats_a_secret_is_not_told() {
        let line = "ERR unknown command 'AUTH', with args beginning with: 'gateway' 'hunter2'";
        let failure = Failure::of_secret(&answered(line));
        assert_eq!(failure.fault, Fault::CredentialsRefused);
        assert!(!format!("{failure} {failure:?}").contains("hunter2"), "{failure:?}");
    }

    #[test]
    fn faults_of_tls_are_told_apart() {
        let alert = |alert| TlsError::AlertReceived(alert);
        for (error, fault) in [
            (
                TlsError::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
                Fault::CertificateNotAccepted,
            ),
            (alert(AlertDescription::CertificateRequired), Fault::ClientCertificate),
            (alert(AlertDescription::UnknownCA), Fault::ClientCertificate),
            (alert(AlertDescription::InternalError), Fault::TlsHandshake),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(Failure::of_handshake(&error).fault, fault, "{error}");
        }
        let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(Failure::of_handshake(&ended).fault, Fault::TlsHandshake);
        assert_eq!(Failure::of_opening(&ended).fault, Fault::Unreachable);
    }

    #[test]
    fn a_caller_learns_what_is_wrong_and_an_operator_what_to_do() {
        let failure = Failure::new(Fault::Evicts, "maxmemory_policy is allkeys-lru");
        let error = failure.error("the write could not be recorded", "it was not sent");
        assert_eq!(
            error.message(),
            "the write could not be recorded, because it removes keys when its memory is full, \
             which would forget writes; it was not sent"
        );
        assert_eq!(
            failure.to_string(),
            "it removes keys when its memory is full, which would forget writes \
             (maxmemory_policy is allkeys-lru); set `maxmemory-policy noeviction` at the server"
        );
    }
}

//! What keeps a replica from the shared store: one table.

use crate::telemetry::label_values;

/// What is true of one fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What is wrong: the rest of a sentence about the store. For callers too.
    pub why: &'static str,
    /// What a person has to do.
    pub remedy: &'static str,
    /// Whether a connection that says this is kept or dropped.
    pub connection: Connection,
    /// What it means for writes.
    pub writes: Writes,
}

/// What a fault means for the connection that it showed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It goes on: another one would tell the same.
    Kept,
    /// It ends, and the server is looked for again.
    Dropped,
}

/// What a fault means for writes that need the store. Those that are not sent for it end with
/// `STORE_UNAVAILABLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// They are refused, whatever is configured: the server is there, and others may use it.
    Refused,
    /// They are refused, unless `when_unreachable = "write_alone"`.
    RefusedUnlessAlone,
}

/// Declares the faults: the name of each in metrics, what it means, what is wrong, and what has to
/// be done.
macro_rules! faults {
    ($(
        $(#[$doc:meta])+
        $fault:ident = $label:literal, $connection:ident, $writes:ident,
            $why:expr, $remedy:expr;
    )+) => {
        label_values! {
            /// What keeps a replica from the shared store, or what the server says instead of doing
            /// what it is asked.
            pub enum Fault { $($(#[$doc])+ $fault = $label,)+ }
        }

        impl Fault {
            /// What is true of it.
            #[must_use]
            pub const fn facts(self) -> Facts {
                let (connection, writes, why, remedy) = match self {$(
                    Self::$fault => (Connection::$connection, Writes::$writes, $why, $remedy),
                )+};
                Facts { why, remedy, connection, writes }
            }
        }
    };
}

const PASSES: &str = "the gateway tries again by itself";
const WHERE: &str =
    "check that it runs, that the network lets the gateway reach it, and `url` or `sentinels`";
const PRIMARY: &str = "name the primary in `url`, or the Sentinels in `sentinels`; after a \
                       failover, this passes where the name leads to the new primary";

faults! {
    /// There was no connection yet, or the process ends.
    NotConnected = "not_connected", Dropped, RefusedUnlessAlone,
        "the gateway is not connected to it", PASSES;
    /// Its host name has no address.
    NameNotResolved = "name_not_resolved", Dropped, RefusedUnlessAlone,
        "its host name has no address",
        "check the name in `url` or `sentinels`, and the DNS of this machine";
    /// It takes no connection.
    Unreachable = "unreachable", Dropped, RefusedUnlessAlone,
        "it takes no connection", WHERE;
    /// There was no connection in time.
    ConnectTimeout = "connect_timeout", Dropped, RefusedUnlessAlone,
        "there is no connection in time", WHERE;
    /// A connection that worked has ended.
    ConnectionLost = "connection_lost", Dropped, RefusedUnlessAlone,
        "the connection has ended", PASSES;
    /// It has not answered in time. The second in a row drops the connection.
    TimedOut = "timed_out", Kept, RefusedUnlessAlone,
        "it does not answer in time",
        "check the load of the server, its slow log, and the network";
    /// None of the Sentinels answers.
    SentinelsUnreachable = "sentinels_unreachable", Dropped, RefusedUnlessAlone,
        "none of its Sentinels answers",
        "check `sentinels`, and that they run";
    /// The Sentinels know no primary of that name.
    MasterUnknown = "master_unknown", Dropped, Refused,
        "its Sentinels know no primary of that name",
        "check `master`: `SENTINEL MASTERS` lists the names";
    /// Its certificate is not accepted.
    CertificateNotAccepted = "certificate_not_accepted", Dropped, Refused,
        "its certificate is not accepted",
        "name the authority that issued it in `tls.ca_file`, and its name in `tls.server_name` if \
         that is not the host";
    /// It does not accept the client certificate, or wants one.
    ClientCertificate = "client_certificate_refused", Dropped, Refused,
        "it does not accept the gateway's client certificate, or the gateway has none",
        "set `tls.cert` and `tls.key` to what the server accepts";
    /// There is no TLS with it for another reason.
    TlsHandshake = "tls_handshake_failed", Dropped, Refused,
        "there is no TLS with it",
        "check whether it speaks TLS at that port: `rediss://` is with TLS, `redis://` without";
    /// It does not speak the protocol.
    NotRedis = "not_redis", Dropped, Refused,
        "it answers with what is not the protocol of Redis",
        "check `url`: it may lead to another program, or the port may want TLS (`rediss://`)";
    /// It wants a password.
    CredentialsWanted = "credentials_wanted", Dropped, Refused,
        "it wants a password",
        "set `password`, and `user` if that is not the default one";
    /// It does not accept the user or the password.
    CredentialsRefused = "credentials_refused", Dropped, Refused,
        "it does not accept the gateway's user or password",
        "check `user` and `password`, and the user at the server (`ACL GETUSER`)";
    /// The user may not do what the gateway needs.
    NotPermitted = "not_permitted", Kept, Refused,
        "it does not allow the gateway's user what is needed",
        "grant that user at the server (`ACL SETUSER`) what its answer names";
    /// It is a replica of another server.
    IsReplica = "is_replica", Dropped, Refused,
        "it is a replica of another server, which takes no writes", PRIMARY;
    /// It is a replica that has lost its primary.
    PrimaryDown = "primary_down", Dropped, Refused,
        "it is a replica that has lost its primary", PRIMARY;
    /// It reads its data, after a start.
    Loading = "loading", Dropped, Refused,
        "it reads its data after a start", PASSES;
    /// It has fewer replicas than it needs to take writes.
    TooFewReplicas = "too_few_replicas", Kept, Refused,
        "it has fewer replicas than it needs to take writes",
        "check the replicas of the server: `min-replicas-to-write` is not met";
    /// Its memory is full.
    OutOfMemory = "out_of_memory", Kept, Refused,
        "its memory is full",
        "raise `maxmemory` of the server, and keep nothing else there";
    /// It takes no writes because it cannot write to its disk.
    DiskFailed = "disk_failed", Kept, Refused,
        "it cannot write to its disk",
        "check the disk and the log of the server (`MISCONF`)";
    /// It runs a script that does not end.
    Busy = "busy", Kept, Refused,
        "it runs a script that does not end",
        "find which client runs it, and end it with `SCRIPT KILL`";
    /// It has as many clients as it takes.
    TooManyClients = "too_many_clients", Dropped, Refused,
        "it has as many clients as it takes",
        "raise `maxclients` of the server, or end other clients";
    /// It removes keys when its memory is full.
    Evicts = "evicts", Dropped, Refused,
        "it removes keys when its memory is full, which would forget writes",
        "set `maxmemory-policy noeviction` at the server";
    /// It is older than what the gateway needs.
    TooOld = "too_old", Dropped, Refused,
        "it is older than Redis 7.0",
        "use Redis 7.0 or later, or Valkey";
    /// It is part of a cluster, which divides keys.
    IsCluster = "is_cluster", Dropped, Refused,
        "it is part of a Redis Cluster",
        "use one primary, with Sentinels if it has replicas (`cluster-enabled no`)";
    /// Its connections lead to more than one server.
    SeveralServers = "several_servers", Dropped, Refused,
        "its connections lead to more than one server",
        "name one server in `url`: a load balancer does not do";
    /// It refuses for another reason.
    Refused = "refused", Kept, Refused,
        "it refuses what the gateway asks",
        "the answer of the server says why";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::telemetry::LabelValue as _;

    #[test]
    fn each_fault_has_a_reason_of_its_own_and_says_what_to_do() {
        let every = Fault::every(&"".into());
        let whys: BTreeSet<&str> = every.iter().map(|fault| fault.facts().why).collect();
        assert_eq!(whys.len(), every.len(), "{whys:?}");
        assert!(every.iter().all(|fault| !fault.facts().remedy.is_empty()));
    }

    #[test]
    fn alone_is_written_only_without_a_server() {
        let alone = Fault::every(&"".into())
            .into_iter()
            .filter(|fault| fault.facts().writes == Writes::RefusedUnlessAlone)
            .map(Fault::name);
        let expected = [
            "not_connected",
            "name_not_resolved",
            "unreachable",
            "connect_timeout",
            "connection_lost",
            "timed_out",
            "sentinels_unreachable",
        ];
        assert_eq!(alone.collect::<Vec<_>>(), expected);
    }
}

//! What a server says of itself (`INFO`), and whether it will do.

use std::time::Duration;

use super::{failure::Failure, fault::Fault};

/// The oldest release that works.
const OLDEST: u32 = 7;

const NOT_APPENDING: &str = "it does not write each change to its disk: what a restart of it loses \
    is known only to the replicas that run on, so a write may be sent again whose replica has \
    ended too; set `appendonly yes` at the server";

/// What is asked again with each heartbeat.
pub(super) const SECTIONS: [&str; 3] = ["server", "replication", "memory"];

/// What is known of the server since the connections were opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// The release whose commands it has.
    pub version: String,
    /// Tells one process of a server from another.
    pub(super) run_id: String,
    /// Whether it writes each change to its disk (`appendonly yes`).
    pub is_appending: bool,
    /// What it says of its replication.
    pub replication: Replication,
}

/// What a primary says of its replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Names one history of writes (`master_replid`). A promoted replica takes a new one, and so
    /// does a primary that starts.
    pub id: String,
    /// How many replicas are connected to it.
    pub replicas: u32,
    /// What time it was there.
    pub time: Option<Duration>,
}

impl ServerInfo {
    /// What works and is probably not meant, each as a sentence about the server.
    #[must_use]
    pub fn cautions(&self) -> Vec<&'static str> {
        match self.is_appending {
            true => Vec::new(),
            false => vec![NOT_APPENDING],
        }
    }
}

/// The answer to `INFO`.
struct Info<'t>(&'t str);

impl<'t> Info<'t> {
    fn find(&self, key: &str) -> Option<&'t str> {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
    }

    fn get(&self, key: &str) -> Result<&'t str, Failure> {
        self.find(key)
            .ok_or_else(|| Failure::new(Fault::NotRedis, format_args!("INFO has no {key}")))
    }
}

/// Checks a server that was connected to: its whole `INFO`.
pub(super) fn of_server(text: &str) -> Result<ServerInfo, Failure> {
    let info = Info(text);
    let version = info.get("redis_version")?;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(Failure::new(Fault::TooOld, format_args!("redis_version is {version}")));
    }
    if info.find("cluster_enabled") == Some("1") {
        return Err(Failure::new(Fault::IsCluster, "cluster_enabled is 1"));
    }
    if info.find("loading") == Some("1") {
        return Err(Failure::new(Fault::Loading, "loading is 1"));
    }
    let replication = of_heartbeat(text)?;
    let run_id = info.get("run_id")?.to_owned();
    let is_appending = info.find("aof_enabled") == Some("1");
    Ok(ServerInfo { version: version.to_owned(), run_id, is_appending, replication })
}

/// Checks what may change while there are connections: the sections [`SECTIONS`].
pub(super) fn of_heartbeat(text: &str) -> Result<Replication, Failure> {
    let info = Info(text);
    let role = info.get("role")?;
    if role != "master" {
        let primary = info.find("master_host").unwrap_or("unknown");
        let told = format_args!("role is {role}, master_host is {primary}");
        return Err(Failure::new(Fault::IsReplica, told));
    }
    let policy = info.get("maxmemory_policy")?;
    if policy != "noeviction" {
        return Err(Failure::new(Fault::Evicts, format_args!("maxmemory_policy is {policy}")));
    }
    let replicas = info.get("connected_slaves")?.parse().unwrap_or(0);
    let time = info.find("server_time_usec").and_then(|time| time.parse().ok());
    let (id, time) = (info.get("master_replid")?.to_owned(), time.map(Duration::from_micros));
    Ok(Replication { id, replicas, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\
                        run_id:3f\r\nserver_time_usec:1700000000000001\r\n\r\n\
                        # Memory\r\nmaxmemory_policy:noeviction\r\n\r\n\
                        # Persistence\r\nloading:0\r\n\r\n# Replication\r\nrole:master\r\n\
                        connected_slaves:2\r\nmaster_replid:ab\r\nmaster_replid2:00\r\n\r\n\
                        # Cluster\r\ncluster_enabled:0\r\n";

    #[test]
    fn a_primary_that_keeps_its_keys_will_do() {
        let time = Some(Duration::from_micros(1_700_000_000_000_001));
        let replication = Replication { id: "ab".to_owned(), replicas: 2, time };
        let info = of_server(INFO).unwrap();
        assert_eq!(info.cautions(), [NOT_APPENDING]);
        let appending = of_server(&format!("{INFO}aof_enabled:1\r\n")).unwrap();
        assert!(appending.cautions().is_empty());
        assert_eq!((info.version.as_str(), info.replication), ("7.0.15", replication));
        // Valkey keeps saying which Redis it is like.
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1";
        assert!(of_server(&INFO.replace("redis_version:7.0.15", valkey)).is_ok());
    }

    #[test]
    fn each_other_server_is_refused_for_what_it_is() {
        for (from, to, fault) in [
            ("redis_version:7.0.15", "redis_version:6.2.14", Fault::TooOld),
            ("redis_version:7.0.15", "redis_version:unstable", Fault::TooOld),
            ("redis_version:7.0.15\r\n", "", Fault::NotRedis),
            ("cluster_enabled:0", "cluster_enabled:1", Fault::IsCluster),
            ("loading:0", "loading:1", Fault::Loading),
            ("role:master", "role:slave", Fault::IsReplica),
            ("role:master\r\n", "", Fault::NotRedis),
            ("noeviction", "allkeys-lru", Fault::Evicts),
            ("master_replid:ab\r\n", "", Fault::NotRedis),
        ] {
            let failure = of_server(&INFO.replace(from, to)).unwrap_err();
            assert_eq!(failure.fault, fault, "{from} {to}");
        }
    }
}

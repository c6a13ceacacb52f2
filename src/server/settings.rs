//! The settings of the server: its ports, and the `[server]` section.

mod connections;
mod operators;
mod tls;

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

pub use self::{
    connections::ConnectionSettings,
    operators::{ADMIN, AdminSettings, OperatorSettings, Operators},
    tls::{ClientAuth, HandshakeLimits, ServerTlsSettings, TlsVersion},
};
use crate::{
    rpc::{request, status::MAX_STATUS_BYTES},
    settings::{
        Kind as _, ListenAddress, Section,
        bounds::{CONCURRENCY, KIB, MESSAGE, MIB, TIMEOUT, hours, minutes, seconds},
        bytes, count, duration, flag, listen_address, settings,
    },
};

/// A time that may be zero.
const GRACE: RangeInclusive<Duration> = Duration::ZERO..=hours(1);
/// Load balancers notice within minutes; a longer wait would only stall a deployment.
const DRAIN_GRACE: RangeInclusive<Duration> = Duration::ZERO..=minutes(5);
/// The same as [`CONCURRENCY`] for another type.
const STREAMS: RangeInclusive<u32> = 1..=1_000_000;
const KEEP_ALIVE: RangeInclusive<Duration> = seconds(1)..=hours(1);
/// A busy process is not a dead one.
const LIVENESS: RangeInclusive<Duration> = seconds(1)..=minutes(10);
const CONNECTION_AGE: RangeInclusive<Duration> = seconds(1)..=hours(24);

/// gRPC's own headers and a token of some size have to fit in; the HTTP layers take eight times as
/// much.
const REQUEST_METADATA: RangeInclusive<usize> = 4 * KIB..=MIB;
/// The reason of an error fits into the least of these.
const RESPONSE_METADATA: RangeInclusive<usize> = KIB..=MAX_STATUS_BYTES;

settings! {
    /// Where the ports are.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AddressSettings {
        /// Address of the gRPC port; port 0 lets the system choose. `localhost:PORT` is both
        /// loopback addresses, `:PORT` all addresses of the machine, and `unix:PATH` a Unix socket.
        listen: ListenAddress = local(50051), listen_address();
        /// Address of the admin HTTP port: health, metrics, `/config`. Not the port of `listen` on
        /// the same address. Never with TLS.
        admin_listen: ListenAddress = local(9090), listen_address();
        /// Address of a port for probes alone: `/livez`, `/readyz`, and `grpc.health.v1`. A thread
        /// of its own serves it, also when all else is busy. Not the port of another address. Never
        /// with TLS.
        probe_listen: Option<ListenAddress> = None, listen_address().or_off();
    }
    check ports_differ;
}

settings! {
    /// How the server behaves.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ServerSettings {
        /// Deadline of a call that brings none.
        default_timeout: Duration = seconds(45), duration(TIMEOUT);
        /// Longest deadline of a call; a longer one is cut to this. Not below `default_timeout`.
        ///
        /// Streams may be longer.
        max_timeout: Duration = minutes(5), duration(TIMEOUT);
        /// Largest request message, also when it is decompressed.
        max_request_bytes: usize = 256 * KIB, bytes(MESSAGE);
        /// Largest response message.
        max_response_bytes: usize = 16 * MIB, bytes(MESSAGE);
        /// Responses of this size and larger are compressed for callers that accept gzip or
        /// zstd.
        ///
        /// Messages of streams are compressed whatever their size.
        min_compressed_bytes: Option<usize> = Some(8 * KIB), bytes(MESSAGE).or_off();
        /// Largest metadata of a request, as HTTP/2 counts headers (RFC 9113, 6.5.2). Up to eight
        /// times as much is refused with RESOURCE_EXHAUSTED and an ErrorInfo. Of more, nothing is
        /// kept, and the answer is HTTP 431.
        max_request_metadata_bytes: usize = 16 * KIB, bytes(REQUEST_METADATA);
        /// Largest headers and trailers of a response together, counted in the same way.
        ///
        /// The details of an error are shortened to fit. Many proxies take no more than 4 KiB.
        max_response_metadata_bytes: usize = 3000, bytes(RESPONSE_METADATA);
        /// Calls in flight over all connections; more are refused. One caller may hold its share of
        /// them: see `share_percent`.
        max_concurrent_calls: usize = 1024, count(CONCURRENCY);
        /// Calls in flight on one connection, probes and streams too; a client waits with more.
        max_streams_per_connection: u32 = 100, count(STREAMS);
        /// Streams of health and reflection over all connections; more are refused. One caller may
        /// hold its share of them.
        max_probe_streams: usize = 256, count(CONCURRENCY);
        /// Time from a call's headers to the end of its request message. Until then the call takes
        /// none of the places of `max_concurrent_calls`.
        message_timeout: Duration = seconds(10), duration(TIMEOUT);
        /// Connections open at the same time. One more takes the place of one without calls, or
        /// waits if calls run on each.
        max_connections: usize = 4096, count(CONCURRENCY);
        /// Age at which a connection is asked to end, ±10 %, so that load spreads again.
        max_connection_age: Option<Duration> = Some(minutes(30)), duration(CONNECTION_AGE).or_off();
        /// How long reads on such a connection may still run. Streams end at once, and writes may
        /// run until their deadlines.
        max_connection_age_grace: Duration = minutes(1), duration(GRACE);
        /// At shutdown: time from "not serving" to refusing connections, for load balancers to
        /// notice.
        drain_grace: Duration = seconds(3), duration(DRAIN_GRACE);
        /// At shutdown, after `drain_grace`: time limit for calls and writes in flight. Those that
        /// are not done by then end with a status that says so.
        ///
        /// The defaults of both together are below the 30 s after which Kubernetes kills.
        drain_timeout: Duration = seconds(25), duration(TIMEOUT);
        /// Longest time without a message on a stream, so that no proxy takes its connection for
        /// dead: then `WatchProfiles` sends a bookmark, and the health service the status again.
        stream_keep_alive: Option<Duration> = Some(seconds(20)), duration(KEEP_ALIVE).or_off();
        /// Whether gRPC-Web is served beside gRPC, on the same port.
        grpc_web: bool = false, flag();
        /// How long the threads that serve calls may make no progress before `/livez` of
        /// `probe_listen` says that the process is dead.
        liveness_timeout: Duration = seconds(30), duration(LIVENESS);
        ..connections: ConnectionSettings, "How long connections may do nothing, and how many one \
                                            peer may have.";
    }
    check timeouts_are_ordered;
}

impl AddressSettings {
    /// Whether no other machine can reach any of the ports.
    #[must_use]
    pub fn are_loopback(&self) -> bool {
        let Self { listen, admin_listen, probe_listen } = self;
        [Some(listen), Some(admin_listen), probe_listen.as_ref()]
            .into_iter()
            .flatten()
            .all(ListenAddress::is_local)
    }
}

impl ServerSettings {
    /// The memory that the call with the largest request takes.
    #[must_use]
    pub fn memory_of_largest_request(&self) -> usize {
        request::weight(self.max_request_bytes)
    }
}

fn local(port: u16) -> ListenAddress {
    ListenAddress::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn timeouts_are_ordered(settings: &ServerSettings, section: &mut Section<'_>) {
    let (max, default) = (settings.max_timeout, settings.default_timeout);
    section.not_below(("max_timeout", max), ("default_timeout", default));
}

fn ports_differ(settings: &AddressSettings, section: &mut Section<'_>) {
    let AddressSettings { listen, admin_listen, probe_listen } = settings;
    let mut ports = vec![("listen", listen), ("admin_listen", admin_listen)];
    ports.extend(probe_listen.as_ref().map(|address| ("probe_listen", address)));
    for (at, (later, address)) in ports.iter().enumerate() {
        for (earlier, other) in ports.iter().take(at) {
            if other.clashes_with(address) {
                let message = format!(
                    "`{later}` ({address}) must not share its port with `{earlier}` ({other})"
                );
                section.conflict([later, earlier], message);
            }
        }
    }
}

//! Connections to an upstream end by their age, however busy they are, so that its name is looked
//! up again; no call notices.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use crate::kit::{
    gateway::{self, AS_IT_IS, Gateway},
    tls::{Authority, Speaks, acceptor, slow_upstream},
    until,
};

const WORKERS: usize = 4;

/// Reads a profile again and again until it is told to stop.
async fn reads(gateway: &Gateway, worker: usize, stop: &AtomicBool, failed: &AtomicUsize) {
    while !stop.load(SeqCst) {
        // Each worker has a profile of its own, so that no read is shared.
        if gateway.get(&format!("SP_{worker}")).await.is_err() {
            failed.fetch_add(1, SeqCst);
        }
    }
}

#[tokio::test]
async fn busy_connections_are_replaced_and_no_call_fails() {
    for protocol in ["http/1.1", "h2"] {
        let authority = Authority::new();
        let speaks = Speaks { protocols: &[protocol], ..Speaks::default() };
        let tls = acceptor(&authority.issue("127.0.0.1"), &speaks);
        // There is always a request on each connection.
        let upstream = slow_upstream(tls, Duration::from_millis(10)).await;
        let lines = format!(
            "{AS_IT_IS}max_connection_age = \"1s\"\ntls.ca_file = {:?}\ntls.roots = \"file\"\n",
            authority.file()
        );
        let gateway = gateway::gateway().fixed("sft", &upstream.base_url(), &lines).start().await;
        let (stop, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
        let workers = (0..WORKERS).map(|worker| reads(&gateway, worker, &stop, &failed));
        let replaced = async {
            // Of one generation, each worker has one at most.
            let renewed = async || upstream.connections() > 2 * WORKERS;
            until("connections are replaced", renewed).await;
            until("the old ones end", async || upstream.open() <= WORKERS).await;
            stop.store(true, SeqCst);
        };
        tokio::join!(futures_util::future::join_all(workers), replaced);
        assert_eq!(failed.load(SeqCst), 0, "{protocol}");
    }
}

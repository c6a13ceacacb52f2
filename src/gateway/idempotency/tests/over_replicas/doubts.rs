//! Writes in doubt: who has them, who finds them out, and who learns of it.

use redis::aio::MultiplexedConnection;

use super::*;
use crate::gateway::idempotency::shared::name;

/// The key of the record of an id.
fn record(id: u128) -> String {
    format!("{{pg1:test}}:req:{}", name(&key(id)))
}

fn settler() -> Settler {
    Settler { until: Instant::now() + MINUTE, gives_way: CancellationToken::new() }
}

impl Replica {
    async fn only(&self) -> Doubt {
        let [doubt] = <[Doubt; 1]>::try_from(self.doubts().await).unwrap();
        doubt
    }

    async fn doubts(&self) -> Vec<Doubt> {
        self.store.doubts(0, 99).await.unwrap()
    }

    /// A write that is in doubt.
    async fn in_doubt(&self, id: u128) {
        let (attempt, write) = self.sent(id).await;
        attempt.finish(End::Unknown).await;
        drop(write);
    }

    /// A repeat that finds out that it had no effect, sends it again, and is in doubt too.
    async fn repeats(&self, id: u128) {
        let Begin::Unknown { attempt, .. } = self.begin(id).await else { panic!("{id}") };
        let attempt = Attempt::new(self.store.clone(), key(id), attempt);
        let write = self.turn(&format!("a/p/{id}")).await.unwrap();
        attempt.under(&write);
        attempt.intend(Bytes::from_static(b"again")).await.unwrap();
        attempt.finish(End::Unknown).await;
    }

    async fn settles(&self, number: u64) -> Settling {
        self.store.settle(number, settler()).await.unwrap()
    }

    /// Hears of others until it is told something.
    async fn hears(&self) -> Vec<u64> {
        loop {
            let heard = self.store.hear().await;
            if !heard.is_empty() {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Lets a replica take over so many doubts of another one, as if that had ended. It has not, so it
/// tells of itself again and again.
async fn takes_over(replica: &Replica, of: &Replica, count: usize, server: &RedisServer) {
    let mut real = server.connect().await;
    while replica.doubts().await.len() < count {
        let process = of.member.process().number();
        let mut old = redis::cmd("HSET");
        old.arg("{pg1:test}:members:alive").arg(process).arg(1);
        let _: () = old.query_async(&mut real).await.unwrap();
        replica.store.adopt_now().await;
    }
}

#[tokio::test]
async fn a_doubt_that_is_closed_on_one_replica_is_over_on_the_others() {
    let (_server, a, b) = two().await;
    let said = || Closing::TookEffect(Some(Bytes::from_static(b"said")));
    for (id, closing, ended) in [
        (1, Closing::NoEffect, SettledAs::NoEffect),
        (2, said(), SettledAs::TookEffect),
        (3, Closing::TookEffect(None), SettledAs::ClosedAsDone),
    ] {
        a.in_doubt(id).await;
        b.repeats(id).await;
        assert_eq!(a.store.hear().await, [0; 0], "nothing is known");
        let doubt = b.only().await;
        let closed = b.store.close(&doubt, closing.clone()).await.unwrap();
        assert!(matches!(closed, Closed::Closed(_)), "{closed:?}");
        let own = a.only().await;
        assert_eq!(a.hears().await, [own.number]);
        let closed = a.store.close(&own, Closing::NoEffect).await.unwrap();
        assert!(matches!(closed, Closed::Missing), "what is known is not closed otherwise");
        let Settling::Ended(doubt, outcome) = a.settles(own.number).await else { panic!("{id}") };
        assert_eq!((doubt.number, outcome.name()), (own.number, ended.name()));
        assert_eq!(a.doubts().await.len(), 0);
        for replica in [&a, &b] {
            match (replica.begin(id).await, &closing) {
                (Begin::Fresh(attempt), Closing::NoEffect) => {
                    replica.store.finish(key(id), attempt, End::NoEffect).await.unwrap();
                }
                (Begin::Closed, Closing::TookEffect(None)) => {}
                (Begin::Done(result), Closing::TookEffect(Some(said))) => {
                    assert_eq!(result, *said);
                }
                (other, closing) => panic!("{closing:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_another_attempt_has_found_of_a_record_that_was_lost_says_nothing_of_a_doubt() {
    let (server, a, b) = two().await;
    a.in_doubt(1).await;
    let mut real = server.connect().await;
    let _: () = redis::cmd("DEL").arg(record(1)).query_async(&mut real).await.unwrap();
    let (attempt, write) = b.sent(1).await;
    attempt.finish(End::Failed(Error::new(Reason::Overloaded, "full"))).await;
    drop(write);
    assert_eq!(a.store.hear().await, [0; 0]);
    let settling = a.settles(a.only().await.number).await;
    assert!(matches!(settling, Settling::Begun(..)), "it is looked for: {settling:?}");
}

#[tokio::test]
async fn an_operator_goes_before_the_gateway_itself() {
    let (_server, a, b) = two().await;
    a.in_doubt(1).await;
    let (doubt, settler) = (a.only().await, settler());
    let settling = a.store.settle(doubt.number, settler.clone()).await.unwrap();
    let Settling::Begun(_, attempt) = settling else { panic!("{settling:?}") };
    let write = a.turn("a/p/1").await.unwrap();
    a.store.under(key(1), attempt, &write);
    a.store.look(key(1), attempt).await.unwrap();
    let closed = a.store.close(&doubt, Closing::NoEffect).await.unwrap();
    assert!(matches!(closed, Closed::Closed(_)), "{closed:?}");
    assert!(settler.gives_way.is_cancelled());
    assert!(write.check().is_err(), "its turn is given back");
    let found = a.store.finish(key(1), attempt, End::Done(Bytes::new())).await.unwrap();
    assert!(!found, "it comes too late");
    assert!(matches!(b.begin(1).await, Begin::Fresh(_)));
    b.turn("a/p/1").await.unwrap();
}

fn unnamed() -> RequestIdentity {
    RequestIdentity::unnamed(ME, "UpdateProfile")
}

/// A write without an id, about to send something.
async fn sent_unnamed(replica: &Replica) -> (Attempt, Arc<SharedWrite>) {
    let identity = unnamed();
    let Ok(Begin::Fresh(number)) = replica.store.begin(&identity, by()).await else { panic!() };
    let attempt = Attempt::new(replica.store.clone(), identity.key, number);
    let write = replica.turn("a/p/unnamed").await.unwrap();
    attempt.under(&write);
    attempt.intend(Bytes::from_static(b"unnamed")).await.unwrap();
    (attempt, write)
}

async fn records(real: &mut MultiplexedConnection) -> Vec<String> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:req:*").query_async(real).await.unwrap();
    keys
}

#[tokio::test]
async fn a_write_without_an_id_leaves_a_record_only_while_it_is_in_doubt() {
    let (server, a, _b) = two().await;
    let mut real = server.connect().await;
    let failed = || End::Failed(Error::new(Reason::Overloaded, "full"));
    for end in [End::Done(Bytes::new()), failed(), End::NoEffect] {
        let (attempt, write) = sent_unnamed(&a).await;
        assert_eq!(records(&mut real).await.len(), 1);
        attempt.finish(end).await;
        drop(write);
        assert_eq!(records(&mut real).await, [""; 0]);
    }
    let (attempt, _write) = sent_unnamed(&a).await;
    attempt.finish(End::Unknown).await;
    assert_eq!(records(&mut real).await.len(), 1);
}

#[tokio::test]
async fn the_doubts_of_a_replica_that_has_ended_are_taken_over_once() {
    let (server, a, b) = two().await;
    a.in_doubt(1).await;
    let (attempt, _write) = sent_unnamed(&a).await;
    attempt.finish(End::Unknown).await;
    let (running, _running) = a.sent(2).await;
    let told = a.doubts().await;
    assert_eq!(b.store.hear().await, [0; 0]);
    assert_eq!(b.doubts().await.len(), 0, "the other one runs");

    let c = Replica::of(&server, RULES).await;
    takes_over(&c, &a, 2, &server).await;
    let taken = c.doubts().await;
    let shown = |doubt: &Doubt| {
        let Doubt { number, key, method, resource, call_id, sent, intent, interrupted, .. } = doubt;
        let written = (method.clone(), resource.clone(), call_id.clone(), intent.clone());
        (*number, *key, written, *sent, *interrupted)
    };
    let both = |doubts: &[Doubt]| doubts.iter().map(shown).collect::<Vec<_>>();
    assert_eq!(both(&taken), both(&told), "they are what they were");
    assert_eq!(taken.len(), 2, "one whose time is not over may still write");
    b.store.adopt_now().await;
    assert_eq!(b.doubts().await.len(), 0, "another one has them");

    for doubt in taken {
        let Settling::Begun(_, attempt) = c.settles(doubt.number).await else { panic!() };
        c.store.finish(doubt.key, attempt, End::NoEffect).await.unwrap();
    }
    // The one that was taken for ended learns of it.
    for _ in 0..2 {
        let number = a.hears().await[0];
        assert!(matches!(a.settles(number).await, Settling::Ended(_, SettledAs::NoEffect)));
    }
    assert_eq!(a.doubts().await.len(), 0);
    drop(running);
}

#[tokio::test]
async fn a_write_whose_replica_was_killed_is_taken_over_when_its_time_is_over() {
    let (server, a, b) = two().await;
    let (_running, _write) = a.sent(1).await;
    let mut real = server.connect().await;
    let mut over = redis::cmd("HSET");
    over.arg(record(1)).arg("until").arg(1_000);
    let _: () = over.query_async(&mut real).await.unwrap();
    takes_over(&b, &a, 1, &server).await;
    let doubt = b.only().await;
    assert!(doubt.interrupted, "its caller was not told");
    assert_eq!((&*doubt.intent, doubt.resource.as_str()), (&b"intent"[..], "backends/sft"));
    // The answer to that may have been lost.
    let again = b.agreement.adopt(9, true).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(b.agreement.adopt(9, false).await.unwrap().len(), 0);
}

//! Readers of a load that waits.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::bench::{Answer, Bench, SECOND, TTL, by, profile, settings};
use crate::{
    cache::{
        Control, Outcome, Readers, Resource, Value, Wait,
        flights::{Flights, Joined},
        generations::Generations,
    },
    error::{Error, Reason},
};

fn wait(until: Instant, guessed: bool) -> Wait {
    Wait { until, guessed, refusal: Arc::new(|| Error::new(Reason::UpstreamThrottled, "no")) }
}

#[tokio::test(start_paused = true)]
async fn a_guess_is_taken_back_when_the_load_goes_on() {
    for (guessed, expected) in [(true, Ok(1)), (false, Err(Reason::UpstreamThrottled))] {
        let (bench, began) = (Bench::new(settings()), Instant::now());
        let load = |_, readers: Option<Readers>| async move {
            let readers = readers.expect("a load for several readers");
            assert!(readers.tell(wait(began + 30 * SECOND, guessed), false), "one can wait");
            sleep(SECOND).await;
            readers.goes_on();
            sleep(4 * SECOND).await;
            Ok(profile(1))
        };
        let resource = Resource::Profile("SP_1".into());
        let patient =
            bench.cache.read(&resource, Control::default(), by(began + 60 * SECOND), load);
        let hasty = async |after: Duration| {
            sleep(after).await;
            bench.read(Control::default(), 10 * SECOND).await.0
        };
        let (patient, early, late) = tokio::join!(patient, hasty(SECOND / 2), hasty(2 * SECOND));
        assert!(patient.0.is_ok());
        assert_eq!((early, late), (Err(Reason::UpstreamThrottled), expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_waits_for_those_who_can_or_for_what_it_has() {
    for (worth_keeping, expected) in
        [(false, Reason::Overloaded), (true, Reason::UpstreamThrottled)]
    {
        let (bench, began) = (Bench::new(settings()), Instant::now());
        let load = |_, readers: Option<Readers>| async move {
            let readers = readers.expect("a load for several readers");
            if !readers.tell(wait(began + 30 * SECOND, false), worth_keeping) {
                return Err(Error::new(Reason::Overloaded, "given up"));
            }
            sleep(30 * SECOND).await;
            Ok(profile(1))
        };
        let resource = Resource::Profile("SP_1".into());
        let read = bench.cache.read(&resource, Control::default(), by(began + 10 * SECOND), load);
        assert_eq!(read.await.0.unwrap_err().reason(), expected);
        assert_eq!(began, Instant::now(), "at once");
        let later = bench.read(Control::default(), 60 * SECOND).await;
        assert_eq!((later.0, bench.asked() == 0), (Ok(1), worth_keeping));
    }
}

/// A load that waits to send its first request for a second, and then takes four to be answered.
async fn queued(_: Instant, readers: Option<Readers>) -> crate::error::Result<Value> {
    let readers = readers.expect("a load for several readers");
    readers.queues(false);
    sleep(SECOND).await;
    readers.goes_on();
    sleep(4 * SECOND).await;
    Ok(profile(2))
}

#[tokio::test(start_paused = true)]
async fn a_load_that_has_sent_nothing_ends_with_its_readers_and_one_that_has_goes_on() {
    for (patience, asked_again) in [(SECOND / 2, 1), (2 * SECOND, 0)] {
        let (bench, began) = (Bench::new(settings()), Instant::now());
        let resource = Resource::Profile("SP_1".into());
        let read = bench.cache.read(&resource, Control::default(), by(began + 60 * SECOND), queued);
        timeout(patience, read).await.unwrap_err();
        sleep(10 * SECOND).await;
        let found = if asked_again == 0 { 2 } else { 1 };
        assert_eq!(bench.get().await.0, Ok(found), "left after {patience:?}");
        assert_eq!(bench.asked(), asked_again, "left after {patience:?}");
    }
}

// The load's task ends only when it is polled next.
#[tokio::test(start_paused = true)]
async fn no_one_joins_a_load_that_was_just_given_up() {
    let (flights, resource) = (Flights::default(), Resource::Profile("SP_1".into()));
    let snapshot = Generations::new().snapshot(&resource);
    let by = by(Instant::now() + 60 * SECOND);
    let join = || flights.join(&resource, snapshot, None, by);
    let Ok(Joined::Leader(_, reader, given_up)) = join() else { panic!("it is the first") };
    let Ok(Joined::Follower(flight, second)) = join() else { panic!("it is under way") };
    flight.readers().queues(false);
    drop(reader);
    assert!(timeout(SECOND, flight.readers().abandoned()).await.is_err(), "one still waits");
    drop(second);
    flight.readers().abandoned().await;
    let Ok(Joined::Leader(_, _reader, _next)) = join() else { panic!("it is given up") };
    // Its end is not that of the one that has taken its place.
    drop(given_up);
    assert!(matches!(join(), Ok(Joined::Follower(..))));
}

#[tokio::test(start_paused = true)]
async fn what_is_refreshed_for_later_readers_waits_in_line_without_any() {
    let bench = Bench::new(settings());
    assert_eq!(bench.get().await.0, Ok(1));
    sleep(TTL + SECOND).await;
    let (resource, by) = (Resource::Profile("SP_1".into()), by(Instant::now() + 60 * SECOND));
    let (_, served) = bench.cache.read(&resource, Control::default(), by, queued).await;
    assert_eq!(served.outcome, Outcome::Stale);
    sleep(10 * SECOND).await;
    assert_eq!(bench.get().await.0, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn so_many_loads_are_under_way_and_no_more() {
    let bench = Bench::new(settings());
    bench.answers(Answer::Version(1), 10 * SECOND);
    let read = async |id: String| bench.read_of(&id, Control::default(), 60 * SECOND).await.0;
    let loads = join_all((0..4097).map(|n| read(format!("SP_{n}")))).await;
    let refused = loads.iter().filter(|read| **read == Err(Reason::Overloaded)).count();
    assert_eq!((refused, bench.asked()), (1, 4096));
    assert_eq!(read("SP_5000".to_owned()).await, Ok(1));
}

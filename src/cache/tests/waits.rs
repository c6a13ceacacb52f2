//! Readers of a load that waits.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::bench::{Bench, SECOND, by, profile, settings};
use crate::{
    cache::{Control, Readers, Resource, Wait},
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

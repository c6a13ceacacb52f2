//! Claims in the memory of one process, on a paused clock.

use tokio::time::advance;

use super::*;
use crate::{error::Reason, store::Memory};

const SECOND: Duration = Duration::from_secs(1);

fn fresh() -> Claims {
    Claims::load(Arc::new(Memory::default())).unwrap()
}

/// A creation that ends in doubt. `asked` stands for what it asked for.
fn in_doubt(claims: &Claims, asked: u8) -> u64 {
    let mut running = claims.begin();
    running.asks([asked; 32]);
    running.number()
}

fn size(claims: &Claims) -> (usize, usize) {
    let record = claims.record.lock();
    assert_eq!(record.claims.len(), record.order.len());
    (record.creations.len(), record.claims.len())
}

#[tokio::test(start_paused = true)]
async fn a_claim_holds_against_all_that_began_before() {
    let claims = fresh();
    let (first, second) = (in_doubt(&claims, 1), in_doubt(&claims, 1));
    assert!(claims.claim(first, "40"));
    assert!(claims.claim(first, "40"), "again, after it was not completed");
    assert!(!claims.claim(second, "40"));
    assert_eq!(claims.look_up(first, "40").unwrap(), Claim::Own);
    assert_eq!(claims.look_up(second, "40").unwrap(), Claim::Other);
    assert_eq!(claims.look_up(second, "41").unwrap(), Claim::None);
    // An upstream may give the id of a profile that is gone to a new one.
    let third = in_doubt(&claims, 1);
    assert!(claims.claim(third, "40"));
    assert_eq!(claims.look_up(second, "40").unwrap(), Claim::Other);
}

#[tokio::test(start_paused = true)]
async fn only_creations_that_may_have_made_a_profile_count() {
    let claims = fresh();
    let long_ago = in_doubt(&claims, 1);
    advance(Effect::SETTLES_WITHIN + SECOND).await;
    let first = in_doubt(&claims, 1);
    assert_eq!(claims.count_alike(first), 1);
    let (_other, other_alike) = (in_doubt(&claims, 2), in_doubt(&claims, 1));
    assert_eq!(claims.count_alike(first), 2);
    let _not_sent = claims.begin();
    assert_eq!(claims.count_alike(first), 2);
    let mut running = claims.begin();
    running.asks([1; 32]);
    assert_eq!(claims.count_alike(first), 3);
    running.settled();
    claims.claim(other_alike, "40");
    assert_eq!(claims.count_alike(first), 1);
    assert_eq!(claims.count_alike(long_ago), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_without_a_creation_that_may_ask_for_it() {
    let claims = fresh();
    let running = claims.begin();
    assert!(claims.claim(running.number(), "1"));
    drop(running);
    assert_eq!(size(&claims), (0, 0), "it was not sent");
    let doubt = in_doubt(&claims, 1);
    for profile in ["2", "3"] {
        let mut running = claims.begin();
        running.asks([1; 32]);
        assert!(claims.claim(running.number(), profile));
        running.settled();
    }
    assert_eq!(size(&claims), (1, 2));
    claims.settle(doubt);
    assert_eq!(size(&claims), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_doubt_ends_after_its_time() {
    let claims = fresh();
    let doubt = in_doubt(&claims, 1);
    advance(LONGEST_KEPT + SECOND).await;
    drop(claims.begin());
    assert_eq!(claims.look_up(doubt, "40").unwrap(), Claim::None);
    advance(KEPT_IN_DOUBT - LONGEST_KEPT).await;
    drop(claims.begin());
    let over = claims.look_up(doubt, "40").unwrap_err();
    assert_eq!(over.reason(), Reason::WriteOutcomeUnknown);
    assert_eq!(size(&claims), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_bounded_and_what_is_dropped_stays_unknown() {
    let claims = fresh();
    let first = in_doubt(&claims, 1);
    for _ in 1..MAX_CREATIONS {
        in_doubt(&claims, 1);
    }
    assert!(claims.look_up(first, "40").is_ok());
    in_doubt(&claims, 1);
    assert!(claims.look_up(first, "40").is_err());
    assert_eq!(size(&claims).0, MAX_CREATIONS);

    let claims = fresh();
    let (first, second) = (in_doubt(&claims, 1), in_doubt(&claims, 1));
    for profile in 0..=MAX_CLAIMS {
        assert!(claims.claim(second, &profile.to_string()));
    }
    assert!(claims.look_up(first, "40").is_err());
    assert!(size(&claims).1 <= MAX_CLAIMS);
}

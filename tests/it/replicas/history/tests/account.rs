//! The same of accounts, and of streams.

use super::{super::Rate, History, Lie, Trouble, assert_lies};

#[test]
fn a_second_login_with_a_wrong_password_is_found() {
    let rotated = |refused: &[u64]| {
        let refused = refused.to_vec();
        move |history: &mut History| {
            history.troubles.0 =
                [1_000, 5_000].map(|ms| Trouble::Rotated { from: ms, to: ms + 999 }).into();
            history.refused = refused;
        }
    };
    assert_lies(&[], rotated(&[]));
    assert_lies(&[], rotated(&[1_500, 5_500]));
    assert_lies(&[Lie::RefusedAgain], rotated(&[1_500, 5_500, 5_600]));
}

#[test]
fn a_stream_that_does_not_tell_all_is_found() {
    assert_lies(&[Lie::Untold], |history| history.untold.push("sft".to_owned()));
}

#[test]
fn more_requests_than_the_rate_are_found() {
    let strained = |arrivals: Vec<u64>| {
        move |history: &mut History| {
            history.troubles.0 = vec![Trouble::Strained { from: 1_000, to: 3_000 }];
            history.rate = Rate { per_second: 20, arrivals };
        }
    };
    let every = |ms: usize| (1_000..3_000).step_by(ms).collect::<Vec<u64>>();
    // The burst comes first, and nothing is counted of other times.
    assert_lies(&[], strained([vec![1_000; 10], every(50), vec![5_000; 90]].concat()));
    assert_lies(&[Lie::TooOften], strained(every(30)));
    assert_lies(&[Lie::TooOften], strained([vec![2_000; 20], every(50)].concat()));
}

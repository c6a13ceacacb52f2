//! Each rule of the protocol is there for a reason: without it, the checker finds a violation.

use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};

use super::{
    cases, play,
    server::ServerRules,
    world::{Faults, Rules, Violation, Writes},
};

const EVENTS: usize = 500;

const LATE: Faults = Faults {
    network: false,
    kills: false,
    losses: false,
    flushes: false,
    long: false,
    writes: Writes::All,
    often: 1,
    ..Faults::ALL
};
const TURNS: Faults = Faults { stops: false, writes: Writes::Turns, ..LATE };
const REPEATS: Faults = Faults { stops: false, writes: Writes::Repeats, ..LATE };
const FORGETS: Faults = Faults { losses: true, ..LATE };

/// What the checker finds without a rule. `case` is one that shows it, so that it is found at once.
/// After a change of the model, another one may: `make model` looks long enough, and prints it.
fn without(rules: Rules, faults: Faults, case: u64) -> Violation {
    let found = (case..case + u64::from(cases())).find_map(|case| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&case.to_le_bytes());
        let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let choices: Vec<u32> = (0..EVENTS).map(|_| rng.next_u32()).collect();
        play(rules, faults, &choices).map(|violation| (case, violation))
    });
    let (found, violation) = found.expect("`make model` finds the case that shows the rule now");
    eprintln!("case {found}: {violation:?}");
    violation
}

fn is_stale(violation: &Violation) -> bool {
    matches!(violation, Violation::Stale { .. })
}

#[test]
fn memory_needs_the_lease() {
    let rules = Rules { memory_needs_lease: false, ..Rules::default() };
    assert!(is_stale(&without(rules, LATE, 5)));
}

#[test]
fn writes_wait_for_the_other_replicas() {
    let rules = Rules { writes_wait: false, ..Rules::default() };
    assert!(is_stale(&without(rules, LATE, 71)));
}

#[test]
fn repeats_wait_for_the_other_replicas() {
    let rules = Rules { repeats_wait: false, ..Rules::default() };
    assert!(is_stale(&without(rules, REPEATS, 236)));
}

#[test]
fn repeats_wait_for_the_log_of_their_own_replica() {
    let rules = Rules { repeats_wait_for_own_log: false, ..Rules::default() };
    assert!(is_stale(&without(rules, REPEATS, 3_509)));
}

#[test]
fn all_is_outdated_when_a_replica_has_joined() {
    let rules = Rules { outdates_when_joined: false, ..Rules::default() };
    let faults = Faults { losses: true, often: 2, ..REPEATS };
    assert!(is_stale(&without(rules, faults, 47_722)));
}

#[test]
fn a_write_begins_to_send_under_the_lease() {
    let rules = Rules { sends_under_lease: false, ..Rules::default() };
    let faults = Faults { writes: Writes::Turns, ..FORGETS };
    let violation = without(rules, faults, 168_869);
    assert!(matches!(violation, Violation::Together { .. }), "{violation:?}");
}

fn server(rules: ServerRules) -> Rules {
    Rules { server: rules, ..Rules::default() }
}

#[test]
fn only_members_that_lag_are_evicted() {
    let rules = ServerRules { evicts_only_who_lags: false, ..ServerRules::default() };
    assert!(is_stale(&without(server(rules), TURNS, 199_620)));
}

#[test]
fn an_attempt_that_sent_nothing_says_nothing_of_others() {
    let rules = ServerRules { nothing_says_nothing_of_others: false, ..ServerRules::default() };
    let faults = Faults { kills: true, long: true, writes: Writes::Repeats, ..LATE };
    let violation = without(server(rules), faults, 4_515);
    assert!(matches!(violation, Violation::Twice { .. }), "{violation:?}");
}

#[test]
fn an_unknown_end_says_what_was_sent() {
    let rules = ServerRules { close_has_intent: false, ..ServerRules::default() };
    let violation = without(server(rules), Faults { often: 0, ..FORGETS }, 36_430);
    assert!(matches!(violation, Violation::Twice { .. }), "{violation:?}");
}

#[test]
fn an_epoch_is_of_one_history() {
    let rules = ServerRules { epoch_names_history: false, ..ServerRules::default() };
    without(server(rules), FORGETS, 1_036);
}

#[test]
fn a_write_is_announced_with_its_turn() {
    let rules = ServerRules { open_needs_turn: false, ..ServerRules::default() };
    let faults = Faults { writes: Writes::Turns, often: 4, ..FORGETS };
    // Under the lease, this is too rare to be found: what a replica restores tells it first.
    let rules = Rules { sends_under_lease: false, ..server(rules) };
    let violation = without(rules, faults, 4_750);
    assert!(matches!(violation, Violation::Together { .. }), "{violation:?}");
}

#[test]
fn a_new_epoch_has_a_grace() {
    let rules = Rules { grace: false, ..Rules::default() };
    let violation = without(rules, FORGETS, 2_000);
    assert!(!is_stale(&violation), "{violation:?}");
}

//! The protocol under all orders of events: a model of the server, of replicas that run the
//! protocol, of callers, and of an upstream.
//!
//! Time is virtual, and whatever can happen next may happen next. A checker looks at each answer.
//! It is tested, too: it has to find what each of the rules prevents, once the rule is taken out.

mod record;
mod rules;
pub(crate) mod server;
mod waits;
mod world;

use proptest::{
    collection::vec,
    prelude::{Rng, any},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use self::world::{Faults, Reached, Rules, Violation, World};

/// Runs cases until one violates a promise. Returns what it was, with the events of the shortest
/// such case that was found.
fn explore(rules: Rules, faults: Faults, cases: u32, events: usize) -> Option<(Violation, String)> {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, seed);
    let found = runner.run(&vec(any::<u32>(), events / 2..events), |choices| {
        play(rules, faults, &choices).map_or(Ok(()), |_| Err(TestCaseError::fail("violated")))
    });
    match found {
        Ok(()) => None,
        Err(TestError::Fail(_, choices)) => {
            let violation = play(rules, faults, &choices)?;
            Some((violation, tell(rules, faults, &choices)))
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

fn play(rules: Rules, faults: Faults, choices: &[u32]) -> Option<Violation> {
    let (mut world, faults) = (World::new(rules), faults.vary(choices.first().copied()?));
    choices.iter().find_map(|choice| {
        world.happen(*choice, faults);
        world.check.violation.take()
    })
}

fn tell(rules: Rules, faults: Faults, choices: &[u32]) -> String {
    let (mut world, faults) =
        (World::new(rules), faults.vary(choices.first().copied().unwrap_or(0)));
    let mut events = String::new();
    for choice in choices {
        events.push_str(&world.describe(*choice, faults));
        world.happen(*choice, faults);
    }
    events
}

fn cases() -> u32 {
    std::env::var("MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000)
}

fn holds(faults: Faults) {
    if let Some((violation, events)) = explore(Rules::default(), faults, cases(), 400) {
        panic!("{violation:?} after\n{events}");
    }
}

#[test]
fn promises_hold_without_faults() {
    holds(Faults::default());
}

#[test]
fn promises_hold_whatever_fails() {
    holds(Faults::ALL);
}

#[test]
fn promises_hold_on_a_bad_network() {
    holds(Faults { network: true, stops: true, ..Faults::default() });
}

#[test]
fn promises_hold_when_processes_die() {
    holds(Faults { kills: true, long: true, ..Faults::default() });
}

#[test]
fn promises_hold_when_the_server_forgets() {
    holds(Faults { losses: true, flushes: true, ..Faults::default() });
}

/// A model in which nothing happens would hold every promise.
#[test]
fn what_the_promises_are_about_happens() {
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut all = Reached::default();
    for _ in 0..4_000 {
        let mut world = World::new(Rules::default());
        let faults = Faults::ALL.vary(rng.next_u32());
        (0..400).for_each(|_| world.happen(rng.next_u32(), faults));
        all.add(world.check.reached);
    }
    let Reached { served, acknowledged, evicted, restored, repeated, taken_over } = all;
    let least = [served, acknowledged, evicted, restored, repeated, taken_over].into_iter().min();
    assert!(least > Some(20), "{all:?}");
}

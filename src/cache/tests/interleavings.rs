//! The protocol of the generations, in every interleaving of its steps.
//!
//! The model is an upstream with one version of a profile and its list entry, a store, and actors
//! that take their steps in any order. The test checks in each state that a read that begins after
//! a write was acknowledged never gets an older value.

use crate::cache::{
    Resource, Target,
    generations::{Generations, Proof, Shape, Snapshot},
};

const ID: &str = "SP_1";

/// What an actor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Notes the generations, as a load does when it begins.
    See,
    /// Reads the upstream.
    Fetch,
    /// Keeps the value, if allowed.
    Keep,
    /// Looks in the store, which may have a valid entry.
    Look,
    /// Tells the cache that a write is about to be sent.
    Begin,
    /// The write takes effect upstream.
    Apply,
    /// Tells the cache that the write is over, and acknowledges it.
    End,
    /// The upstream does not answer: the write may take effect later.
    EndUnknown,
    /// Drops the kept profile.
    Purge,
}

use Step::{Apply, Begin, End, EndUnknown, Fetch, Keep, Look, Purge, See};

const READ: &[Step] = &[See, Fetch, Keep];
const LOOK: &[Step] = &[Look];
const WRITE: &[Step] = &[Begin, Apply, End];
const CREATE: &[Step] = &[Begin, Apply, Apply, End];
const FAILED: &[Step] = &[Begin, End];
const LATE: &[Step] = &[Begin, EndUnknown, Apply];

/// A kind of value that is read and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Profile,
    Absence,
    List,
    /// A profile that comes with a list.
    FromList,
    /// A profile that is created in two steps: first absent, then half created, then complete.
    Created,
}

struct World {
    kind: Kind,
    target: Target,
    generations: Generations,
    /// The version upstream, and the version of the last acknowledged write.
    upstream: u32,
    acknowledged: u32,
    store: Option<(u32, Proof)>,
    /// A write ended without an answer: nothing may be kept for a while.
    unsettled: bool,
    purged: bool,
}

/// What an actor remembers between its steps.
#[derive(Clone, Copy, Default)]
struct Memory {
    snapshot: Option<Snapshot>,
    before_purge: bool,
    fetched: u32,
}

impl World {
    fn new(kind: Kind, target: Target) -> Self {
        Self {
            kind,
            target,
            generations: Generations::with_slots(4),
            upstream: 0,
            acknowledged: 0,
            store: None,
            unsettled: false,
            purged: false,
        }
    }

    fn profile() -> Resource {
        Resource::Profile(ID.into())
    }

    /// What is loaded, and under which key it is kept.
    fn resources(&self) -> (Resource, Resource) {
        match self.kind {
            Kind::Profile | Kind::Absence | Kind::Created => (Self::profile(), Self::profile()),
            Kind::List => (Resource::Profiles, Resource::Profiles),
            Kind::FromList => (Resource::Profiles, Self::profile()),
        }
    }

    fn take(&mut self, step: Step, memory: &mut Memory) {
        let (loaded, kept) = self.resources();
        match step {
            See => {
                memory.snapshot = Some(self.generations.snapshot(&loaded));
                memory.before_purge = !self.purged;
            }
            Fetch => memory.fetched = self.upstream,
            Keep => self.keep(&loaded, &kept, *memory),
            Look => {
                let found = self.store.filter(|(_, proof)| self.generations.holds(&kept, *proof));
                if let Some((version, _)) = found {
                    assert!(version >= self.acknowledged, "an old value after a write");
                }
            }
            Begin => self.generations.begin(&self.target),
            Apply => self.upstream += 1,
            End => {
                self.generations.end(&self.target, None);
                self.acknowledged = self.upstream;
            }
            EndUnknown => {
                self.generations.end(&self.target, Some(u64::MAX));
                self.unsettled = true;
            }
            Purge => {
                self.generations.outdate(&kept);
                self.purged = true;
            }
        }
    }

    fn keep(&mut self, loaded: &Resource, kept: &Resource, memory: Memory) {
        let snapshot = memory.snapshot.unwrap();
        let proof = match self.kind {
            Kind::FromList => {
                let whole = self.generations.proof(loaded, snapshot, Shape::Whole, 0);
                whole.and_then(|_| self.generations.proof_from_list(kept, snapshot, 0))
            }
            Kind::Absence => self.generations.proof(loaded, snapshot, Shape::Absence, 0),
            Kind::Created if memory.fetched == 0 => {
                self.generations.proof(loaded, snapshot, Shape::Absence, 0)
            }
            _ => self.generations.proof(loaded, snapshot, Shape::Whole, 0),
        };
        if let Some(proof) = proof {
            assert!(!self.unsettled, "kept while a write may still take effect");
            assert!(!(self.purged && memory.before_purge), "kept by a load from before the purge");
            self.store = Some((memory.fetched, proof));
        }
    }
}

/// Plays the actors' steps in every order; returns how many orders there are.
fn play(kind: Kind, target: &Target, actors: &[&[Step]]) -> u32 {
    fn next(kind: Kind, target: &Target, actors: &[&[Step]], order: &mut Vec<usize>) -> u32 {
        let taken = |actor: usize| order.iter().filter(|other| **other == actor).count();
        let left: Vec<usize> =
            (0..actors.len()).filter(|actor| taken(*actor) < actors[*actor].len()).collect();
        if left.is_empty() {
            replay(kind, target, actors, order);
            return 1;
        }
        let mut played = 0;
        for actor in left {
            order.push(actor);
            played += next(kind, target, actors, order);
            order.pop();
        }
        played
    }
    next(kind, target, actors, &mut Vec::new())
}

fn replay(kind: Kind, target: &Target, actors: &[&[Step]], order: &[usize]) {
    let mut world = World::new(kind, target.clone());
    let mut memories = vec![Memory::default(); actors.len()];
    let mut at = vec![0; actors.len()];
    for actor in order {
        world.take(actors[*actor][at[*actor]], &mut memories[*actor]);
        at[*actor] += 1;
    }
    // In the end, no old value is valid, whatever the order.
    world.take(Look, &mut Memory::default());
}

#[test]
fn no_old_value_is_valid_after_a_write_in_any_interleaving() {
    let mut played = 0;
    let one = Target::Profile(ID.into());
    for (kind, targets) in [
        (Kind::Profile, &[one.clone(), Target::Every][..]),
        (Kind::Absence, &[one.clone(), Target::New, Target::Every]),
        (Kind::List, &[one.clone(), Target::New, Target::Every]),
        (Kind::FromList, &[one.clone(), Target::Every]),
    ] {
        for target in targets {
            for actors in [
                &[READ, READ, LOOK, WRITE][..],
                &[READ, LOOK, WRITE, WRITE],
                &[READ, READ, LOOK, FAILED],
                &[READ, READ, LOOK, LATE],
                &[READ, WRITE, FAILED, LOOK],
                &[READ, READ, LOOK, &[Purge]],
                &[READ, WRITE, &[Purge], LOOK],
            ] {
                played += play(kind, target, actors);
            }
        }
    }
    assert!(played > 50_000, "{played} interleavings");
}

#[test]
fn no_half_created_profile_is_valid_after_its_creation() {
    for actors in [&[READ, READ, LOOK, CREATE][..], &[READ, LOOK, CREATE, FAILED]] {
        assert!(play(Kind::Created, &Target::New, actors) > 5_000);
    }
}

#[test]
fn values_that_no_write_touches_stay_valid() {
    let generations = Generations::new();
    let other = Resource::Profile("SP_2".into());
    // Skip the one case in a thousand where both share a slot.
    if generations.snapshot(&other) == {
        generations.outdate(&World::profile());
        generations.snapshot(&other)
    } {
        let snapshot = generations.snapshot(&other);
        let proof = generations.proof(&other, snapshot, Shape::Whole, 0).unwrap();
        generations.begin(&Target::Profile(ID.into()));
        generations.end(&Target::Profile(ID.into()), None);
        generations.begin(&Target::New);
        assert!(generations.holds(&other, proof));
    }
    let services = generations.snapshot(&Resource::Services);
    let proof = generations.proof(&Resource::Services, services, Shape::Whole, 0).unwrap();
    generations.begin(&Target::New);
    assert!(generations.holds(&Resource::Services, proof), "no write changes the catalog");
}

#[test]
fn an_unsettled_write_settles_after_a_while() {
    let generations = Generations::new();
    let target = Target::Profile(ID.into());
    generations.begin(&target);
    generations.end(&target, Some(60_000));
    for resource in [World::profile(), Resource::Profiles] {
        let snapshot = generations.snapshot(&resource);
        assert_eq!(generations.proof(&resource, snapshot, Shape::Whole, 59_999), None);
        assert!(generations.proof(&resource, snapshot, Shape::Whole, 60_000).is_some());
    }
}

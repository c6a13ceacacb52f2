//! What happened at the upstream, and what each profile was at any time.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Services;
use crate::kit::history::named;

/// What the upstream has done, by its journal.
#[derive(Clone, Debug)]
pub(in crate::replicas) struct Effect {
    pub ms: u64,
    /// The upstream's id of the profile.
    pub id: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::replicas) enum What {
    /// Of this number, in this version.
    Created(u64, u64, Services),
    /// To this version, or with these services.
    Changed(Option<u64>, Option<Services>),
    Attached(String),
    Detached(String),
    Deleted,
}

/// A profile from its creation on.
#[derive(Debug)]
pub(in crate::replicas) struct Life {
    pub id: String,
    /// Its number.
    pub profile: u64,
    pub states: Vec<State>,
}

/// What a profile was from a time on.
#[derive(Clone, Debug)]
pub(in crate::replicas) struct State {
    pub ms: u64,
    /// Nothing once it is deleted.
    pub seen: Option<(u64, Services)>,
    /// Which version was written, also if it was there already.
    renamed: Option<u64>,
}

/// The effects among a journal's entries, of profiles whose names are told from each other.
pub(in crate::replicas) fn effects(journal: &[Value]) -> Vec<Effect> {
    journal.iter().filter_map(effect).collect()
}

fn effect(entry: &Value) -> Option<Effect> {
    let mut members = entry["effect"].as_object()?.iter();
    let (what, target) = members.find(|(what, _)| *what != "cascaded")?;
    let target = target.as_str().map_or_else(|| target.to_string(), str::to_owned);
    let mut parts = target.split('/');
    let id = parts.next()?.to_owned();
    let service = parts.next();
    let name = named(&entry["body"]);
    let listed = entry["body"].pointer("/Request/requestParam/serviceProfile/service");
    let services = listed.and_then(Value::as_str).map(|ids| ids.split('|').map(str::to_owned));
    let what = match (what.as_str(), service) {
        ("created", _) => {
            let (profile, version) = name?;
            What::Created(profile, version, services.map(Iterator::collect).unwrap_or_default())
        }
        ("modified", _) => {
            What::Changed(name.map(|(_, version)| version), services.map(Iterator::collect))
        }
        ("deleted", _) => What::Deleted,
        // A limit of a service is not a service.
        (_, Some(_)) if parts.next().is_some() => return None,
        ("attached", Some(service)) => What::Attached(service.to_owned()),
        (_, Some(service)) => What::Detached(service.to_owned()),
        _ => return None,
    };
    Some(Effect { ms: entry["at_ms"].as_u64()?, id, what })
}

/// All that was created, by the upstream's ids.
pub(in crate::replicas) fn lives(effects: &[Effect]) -> BTreeMap<String, Life> {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for Effect { ms, id, what } in effects {
        if let What::Created(profile, version, services) = what {
            let seen = Some((*version, services.clone()));
            let states = vec![State { ms: *ms, seen, renamed: None }];
            lives.insert(id.clone(), Life { id: id.clone(), profile: *profile, states });
        } else if let Some(life) = lives.get_mut(id) {
            let seen = life.states.last().and_then(|state| state.seen.clone());
            let seen = seen.and_then(|seen| after(seen, what));
            let renamed = match what {
                What::Changed(version, _) => *version,
                _ => None,
            };
            life.states.push(State { ms: *ms, seen, renamed });
        }
    }
    lives
}

fn after((mut version, mut services): (u64, Services), what: &What) -> Option<(u64, Services)> {
    match what {
        What::Created(..) => {}
        What::Changed(name, now) => {
            version = name.unwrap_or(version);
            services = now.clone().unwrap_or(services);
        }
        What::Attached(service) => drop(services.insert(service.clone())),
        What::Detached(service) => drop(services.remove(service)),
        What::Deleted => return None,
    }
    Some((version, services))
}

/// A change of one thing of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Change {
    Renamed(u64),
    /// A service is there from then on, or is not.
    Service(String, bool),
    Deleted,
}

impl Life {
    /// What changed, with the number of the state that it led to.
    pub(super) fn changes(&self) -> Vec<(Change, usize)> {
        let mut changes = Vec::new();
        for (at, pair) in self.states.windows(2).enumerate() {
            let Some((_, services)) = &pair[0].seen else { continue };
            let Some((_, there)) = &pair[1].seen else {
                changes.push((Change::Deleted, at + 1));
                continue;
            };
            changes.extend(pair[1].renamed.map(|version| (Change::Renamed(version), at + 1)));
            let service = |id: &String, is_there| (Change::Service(id.clone(), is_there), at + 1);
            changes.extend(there.difference(services).map(|id| service(id, true)));
            changes.extend(services.difference(there).map(|id| service(id, false)));
        }
        changes
    }
}

/// The lives of each profile: more than one if it was created twice.
pub(super) fn by_profile(lives: &BTreeMap<String, Life>) -> HashMap<u64, Vec<&Life>> {
    let mut of: HashMap<u64, Vec<&Life>> = HashMap::new();
    for life in lives.values() {
        of.entry(life.profile).or_default().push(life);
    }
    of
}

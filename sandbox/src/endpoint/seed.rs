//! The profiles the account starts with. The first is the documents' example verbatim, with
//! services that are not in the catalog. In the others, members that are left out are as after a
//! create, and services and limits are given by their ids.

use serde_json::{Value, json};

use super::{
    catalog::{self, as_attached, id_of},
    fields::new_profile,
};
use crate::store::{Members, Profiles};

/// The id of the documents' example.
const LITERAL: i64 = 1;

pub(super) fn profiles(max: usize) -> Profiles {
    let written = Profiles::seeded(max, include_str!("seed.json"));
    let mut profiles = Profiles::new(max);
    for (id, members) in written.iter() {
        let members = if id == LITERAL { members.clone() } else { filled(members.clone()) };
        profiles.put(id, members);
    }
    profiles
}

/// A profile with the defaults of a create, and with its services spelled out.
fn filled(members: Members) -> Members {
    let mut all = new_profile();
    all.extend(members);
    // One switch with two names.
    let quota = all.get("apply_data_quota").cloned().unwrap_or(Value::Bool(false));
    all.insert("apply_quota".to_owned(), quota);
    if let Some(services) = all.get_mut(catalog::SERVICE).and_then(Value::as_array_mut) {
        services.iter_mut().for_each(spell_out);
    }
    all
}

fn spell_out(service: &mut Value) {
    let Some(known) = id_of(service).and_then(|id| catalog::find(catalog::SERVICE, id)) else {
        return;
    };
    let limits: Vec<Value> = service
        .get(catalog::TRAFFIC_LIMIT)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|id| catalog::find(catalog::TRAFFIC_LIMIT, id.as_i64()?))
        .map(as_attached)
        .collect();
    *service = known.clone();
    if let Some(members) = service.as_object_mut() {
        members.insert(catalog::TRAFFIC_LIMIT.to_owned(), json!(limits));
    }
}

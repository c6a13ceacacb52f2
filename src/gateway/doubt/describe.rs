//! A write in doubt as people and programs see it: the one place that words it, for the RPC and for
//! the command that reads a store.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use prost::{Message as _, Name as _};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use prost_types::Timestamp;
use serde_json::Value;

use crate::{
    gateway::{
        idempotency::Doubt,
        write::intent::{IntentKind, WriteIntent},
    },
    model::name::{BackendName, DoubtName, ProfileName},
    pb::{DESCRIPTOR_SET, DoubtState, DoubtfulWrite},
    store, text,
};

/// A write in doubt as the contract has it. `kept_for`: how long it is remembered after its end, if
/// that is known.
#[must_use]
pub fn describe(doubt: &Doubt, kept_for: Option<Duration>) -> DoubtfulWrite {
    let kind = WriteIntent::read(&doubt.intent).ok();
    let display_name = match &kind {
        Some(IntentKind::Create(creation)) => creation.profile.display_name.clone(),
        _ => String::new(),
    };
    DoubtfulWrite {
        name: name_of(doubt).to_string(),
        method: doubt.method.clone(),
        resource: doubt.resource.clone(),
        display_name,
        request_id: doubt.request_id().map(|id| id.to_string()).unwrap_or_default(),
        caller: doubt.key.caller.to_string(),
        call_id: doubt.call_id.clone(),
        first_sent_time: timestamp(doubt.first_sent_at),
        last_sent_time: timestamp(doubt.sent_at),
        attempt_count: i32::try_from(doubt.sent).unwrap_or(i32::MAX),
        state: state(doubt).into(),
        advice: advice(doubt, kind.as_ref()),
        candidates: doubt.looks.candidates.clone(),
        fields: fields(kind),
        reason: doubt.looks.reason.clone(),
        message: doubt.looks.message.clone(),
        expire_time: kept_for.and_then(|time| timestamp(doubt.ended_at?.checked_add(time))),
    }
}

/// Its resource name.
pub(super) fn name_of(doubt: &Doubt) -> DoubtName {
    DoubtName::of(&backend_of(doubt), doubt.number)
}

/// The backend to which it was sent.
pub(super) fn backend_of(doubt: &Doubt) -> BackendName {
    match ProfileName::parse("resource", &doubt.resource) {
        Ok(profile) => profile.backend().clone(),
        Err(_) => BackendName::of(doubt.resource.trim_start_matches("backends/")),
    }
}

fn state(doubt: &Doubt) -> DoubtState {
    match doubt.looks.count {
        _ if doubt.is_attended => DoubtState::InProgress,
        0 => DoubtState::Waiting,
        _ => DoubtState::Open,
    }
}

/// What a person can do about it.
fn advice(doubt: &Doubt, kind: Option<&IntentKind>) -> String {
    let wait = match state(doubt) {
        DoubtState::Waiting => {
            "This gateway looks for its outcome by itself while it runs; wait for that. "
        }
        DoubtState::InProgress => "The gateway is looking for its outcome; wait for that. ",
        DoubtState::Open | DoubtState::Unspecified => "",
    };
    let repeat = doubt.request_id().map(|id| {
        format!(
            "Repeat the same request with request_id {id}, as the caller {}: the gateway looks for \
             the outcome, and sends the write again only if it had no effect and can have none. ",
            doubt.key.caller
        )
    });
    let profile = match kind {
        Some(IntentKind::Create(_)) => ", with the profile that it has made",
        _ => "",
    };
    format!(
        "{wait}{}{} Then say how it ended with BackendService.CloseDoubtfulWrite: \
         DOUBT_OUTCOME_TOOK_EFFECT{profile}, or DOUBT_OUTCOME_HAD_NO_EFFECT.",
        repeat.unwrap_or_default(),
        look(doubt, kind)
    )
}

/// Where its effect shows.
fn look(doubt: &Doubt, kind: Option<&IntentKind>) -> String {
    let resource = &doubt.resource;
    match kind {
        Some(IntentKind::Create(creation)) => {
            let name = text::quoted(&creation.profile.display_name);
            let candidates = doubt.looks.candidates.join(", ");
            let among = match candidates.as_str() {
                "" => format!("look in {resource} for a new profile with the display name {name}"),
                some => format!("find out which profile it has made, if any: {some}"),
            };
            format!("To find out yourself, {among}.")
        }
        Some(IntentKind::Change(_)) => {
            format!(
                "To find out yourself, read {resource}, and ask the caller which values it sent: \
                 `fields` are those that were to change."
            )
        }
        Some(IntentKind::Delete(())) => {
            format!("To find out yourself, read {resource}: it is gone if the write took effect.")
        }
        None => format!("To find out yourself, look at {resource} in the upstream."),
    }
}

/// The paths that it was to set. Values stay out, as in the audit log.
fn fields(kind: Option<IntentKind>) -> Vec<String> {
    let fields = kind.map(|kind| WriteIntent::new(kind).fields().unwrap_or_default());
    fields.unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn timestamp(time: Option<SystemTime>) -> Option<Timestamp> {
    time.filter(|time| store::can_be_shown(*time)).map(Timestamp::from)
}

/// The JSON of protobuf, with the names of the contract, and with fields that are empty.
#[must_use]
pub fn to_json(write: &DoubtfulWrite) -> Option<Value> {
    static DESCRIPTOR: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
        let pool = DescriptorPool::decode(DESCRIPTOR_SET).ok()?;
        pool.get_message_by_name(&DoubtfulWrite::full_name())
    });
    let descriptor = DESCRIPTOR.clone()?;
    let message = DynamicMessage::decode(descriptor, write.encode_to_vec().as_slice()).ok()?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::{
        caller::CallerId,
        gateway::{
            idempotency::{Looks, RequestKey},
            write::intent::Creation,
        },
        pb::Profile,
    };

    fn doubt(intent: Vec<u8>) -> Doubt {
        let time = store::time(1_700_000_000_000);
        Doubt {
            number: 7,
            key: RequestKey { caller: CallerId::Others, id: Uuid::from_u128(1), is_named: true },
            method: "CreateProfile".to_owned(),
            resource: "backends/a".to_owned(),
            call_id: "0123456789abcdef".to_owned(),
            sent: 2,
            first_sent_at: time,
            sent_at: time,
            until: time,
            ended_at: time,
            ended: Duration::ZERO,
            intent: intent.into(),
            interrupted: false,
            may_complete: false,
            is_attended: false,
            looks: Looks {
                count: 1,
                reason: "WRITE_OUTCOME_UNKNOWN".to_owned(),
                candidates: vec!["backends/a/profiles/1".to_owned()],
                ..Looks::default()
            },
        }
    }

    fn creation() -> Doubt {
        let profile = Profile { display_name: "Meters".to_owned(), ..Profile::default() };
        let creation = Creation::new(1, profile, None);
        doubt(WriteIntent::new(IntentKind::Create(Box::new(creation))).encode_to_vec())
    }

    #[test]
    fn the_json_has_every_field_of_the_contract() {
        let write = describe(&creation(), Some(Duration::from_secs(3600)));
        let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
        let descriptor = pool.get_message_by_name(&DoubtfulWrite::full_name()).unwrap();
        let names: BTreeSet<String> = descriptor.fields().map(|f| f.name().to_owned()).collect();
        let json = to_json(&write).unwrap();
        assert_eq!(json.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), names);
        assert_eq!(json["state"], "DOUBT_STATE_OPEN");
        assert_eq!(json["expire_time"], "2023-11-14T23:13:20Z");
    }

    #[test]
    fn the_profiles_that_may_be_the_new_one_are_in_the_advice() {
        let write = describe(&creation(), None);
        assert_eq!((write.display_name.as_str(), write.expire_time), ("Meters", None));
        assert_eq!(write.candidates, ["backends/a/profiles/1"]);
        for said in ["backends/a/profiles/1", "with the profile that it has made"] {
            assert!(write.advice.contains(said), "{}", write.advice);
        }
    }

    #[test]
    fn one_that_this_release_cannot_read_is_shown_all_the_same() {
        let write = describe(&doubt(vec![0xff; 3]), None);
        assert_eq!(write.name, "backends/a/doubtfulWrites/7");
        assert!(write.fields.is_empty() && write.advice.contains("look at backends/a"));
    }
}

//! What the suite has to know of each dialect: valid profiles, and the words of its simulator.
//!
//! A dialect that is registered and has no sample fails the suite.

use profile_gateway::{
    dialect::REGISTRY,
    pb::{DESCRIPTOR_SET, Profile},
};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

use super::values;

/// A dialect as the suite drives it.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Its name in the registry.
    pub dialect: &'static str,
    /// Its backend in the sandbox's own configuration, and its name in the sandbox's control API.
    pub upstream: &'static str,
    /// A profile with every field that the dialect can set, written as a read shows it.
    pub full: fn() -> Value,
    /// The same with another value in each of them.
    pub other: fn() -> Value,
    /// What has to change with an allowed value that does not go with the rest of `full`: the
    /// field, the value, and the fields to merge in.
    pub companions: &'static [(&'static str, &'static str, &'static str)],
    /// The operations of the simulator.
    pub operations: Operations,
    /// Its operations that write, those above included.
    pub writes: &'static [&'static str],
    /// Where a raw profile has the members that reads show in addition.
    pub extras: &'static str,
    /// Where a raw profile has its display name.
    pub raw_name: &'static str,
    /// An id that no profile has.
    pub missing: &'static str,
    /// Ids that the dialect cannot have.
    pub impossible: &'static [&'static str],
    /// A profile of the sandbox that is in use.
    pub in_use: &'static str,
    /// Whether an account cannot have one display name twice.
    pub unique_names: bool,
    /// Whether the simulator limits the rate of requests; the suite is faster than that.
    pub has_rate_limit: bool,
}

/// The simulator's operation behind each of the calls.
#[derive(Clone, Copy)]
pub struct Operations {
    pub get: &'static str,
    pub list: &'static str,
    pub create: &'static str,
    pub update: &'static str,
    pub delete: &'static str,
    /// `None` where there is no login.
    pub login: Option<&'static str>,
}

const SAMPLES: &[Sample] = &[SFT, PCC, ENDPOINT];

const SFT: Sample = Sample {
    dialect: "bics-sft",
    upstream: "sft",
    full: values::sft,
    other: values::sft_other,
    companions: &[("radio_access", "RADIO_ACCESS_NB_IOT", r#"{"services": []}"#)],
    operations: Operations {
        get: "GetServiceProfile",
        list: "GetServiceProfile",
        create: "CreateServiceProfile",
        update: "ModifyServiceProfile",
        delete: "DeleteServiceProfile",
        login: Some("login"),
    },
    writes: &["CreateServiceProfile", "ModifyServiceProfile", "DeleteServiceProfile"],
    extras: "/extra",
    raw_name: "name",
    missing: "SP_999999",
    impossible: &["343", "SP_", "SP_x", "SP_1%2F..", "sp_343"],
    in_use: "SP_1249",
    unique_names: true,
    has_rate_limit: false,
};

const PCC: Sample = Sample {
    dialect: "pcc",
    upstream: "pcc",
    full: values::pcc,
    other: values::pcc_other,
    companions: &[],
    operations: Operations {
        get: "GetProfile",
        list: "ListProfiles",
        create: "CreateProfile",
        update: "UpdateProfile",
        delete: "DeleteProfile",
        login: None,
    },
    writes: &["CreateProfile", "UpdateProfile", "DeleteProfile"],
    extras: "",
    raw_name: "name",
    missing: "999999",
    impossible: &["SP_343", "x", "-1", "1.5", "007"],
    in_use: "61",
    unique_names: true,
    has_rate_limit: false,
};

const ENDPOINT: Sample = Sample {
    dialect: "endpoint",
    upstream: "endpoint",
    full: values::endpoint,
    other: values::endpoint_other,
    companions: &[],
    operations: Operations {
        get: "GetProfile",
        list: "ListProfiles",
        create: "CreateProfile",
        update: "PatchProfile",
        delete: "DeleteProfile",
        login: Some("authenticate"),
    },
    writes: &[
        "CreateProfile",
        "PatchProfile",
        "DeleteProfile",
        "PutService",
        "DeleteService",
        "PutTrafficLimit",
        "DeleteTrafficLimit",
    ],
    extras: "",
    raw_name: "name",
    missing: "999999",
    impossible: &["SP_343", "x", "-1", "1.5"],
    in_use: "1",
    unique_names: false,
    has_rate_limit: true,
};

/// The sample of each registered dialect.
#[track_caller]
pub fn registered() -> Vec<Sample> {
    let sample = |dialect: &str| {
        let found = SAMPLES.iter().find(|sample| sample.dialect == dialect).copied();
        found.unwrap_or_else(|| {
            panic!(
                "dialect {dialect} is registered and the conformance suite does not know it: add a \
                 sample to SAMPLES in tests/it/conformance/samples.rs, its two profiles to \
                 values.rs, its rows to errors.rs and services.rs, its good answers to mutated.rs, \
                 and its simulator's backend to app::sandbox_config"
            )
        })
    };
    REGISTRY.iter().map(|registration| sample(registration.name)).collect()
}

/// A profile from its JSON form, with the names of the proto.
#[track_caller]
pub fn profile(json: Value) -> Profile {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name("profilegateway.v1.Profile").unwrap();
    let message = DynamicMessage::deserialize(descriptor, json).unwrap();
    message.transcode_to().unwrap()
}

/// A profile with every field that there is, also those that only the gateway sets.
pub fn everything() -> Profile {
    let mut all = values::endpoint();
    for more in [values::sft(), values::pcc()] {
        merge(&mut all, more);
    }
    merge(
        &mut all,
        json!({"name": "backends/none/profiles/0", "display_name": "Everything",
            "endpoint_count": 77, "data_limits": [{"id": "1", "volume_bytes": 1}],
            "etag": "\"made up\"", "unmapped": {"madeUp": true}}),
    );
    let mut all = profile(all);
    // Whichever dialect is asked, it is one of the others for some of them.
    all.dialect = profile_gateway::pb::Dialect::Pcc.into();
    all
}

/// Merges the members of objects.
pub fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

#[test]
fn every_registered_dialect_has_a_sample() {
    registered();
    for sample in SAMPLES {
        let known = REGISTRY.iter().any(|registration| registration.name == sample.dialect);
        assert!(known, "{} has a sample and is not registered", sample.dialect);
    }
}

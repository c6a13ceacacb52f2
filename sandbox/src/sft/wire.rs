//! SFT's wire: envelopes, result codes, and the ids and names of services and radio access types.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::auth::TokenPair;
use super::stamp::{response_id, timestamp};
use super::state::Profile;

/// Id on write, name on read, and whether it needs a radio access type; in the order reads use (documented examples).
const SERVICES: [(&str, &str, bool); 4] =
    [("4", "DATA", true), ("2", "MO-SMS", true), ("3", "MT-SMS", true), ("5", "NB-IOT", false)];

/// Code on write and name on read (documented), from the least to the most (inferred: by the generations in the
/// name; the numeric order of the codes means nothing).
const RATS: [(&str, &str); 4] =
    [("02", "2G"), ("01", "2G/3G"), ("06", "2G/3G/4G"), ("10", "2G/3G/4G/5G")];

/// Codes that are not settled by the documents and can be switched.
#[derive(Clone, Copy)]
pub(super) struct Codes {
    pub in_use: &'static str,
    pub unauthorized_outer: &'static str,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    CreateSuccess,
    CreateFailure,
    GetSuccess,
    NoData,
    ModifySuccess,
    ModifyFailure,
    DeleteSuccess,
    DeleteFailure,
    AttachedToPlan,
    DuplicateName,
    InvalidChildConfig,
    /// Which child entity is in the way.
    RatConflict(String),
    AddonServiceChange,
    ObsoleteAccessType,
    Unauthorized,
    BadCredentials,
    /// In which field.
    IncorrectValue(String),
    AccountLocked,
}

impl Verdict {
    /// The inner result code; of those that can be switched, the usual one.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::CreateSuccess => "1323",
            Self::CreateFailure => "1324",
            Self::ModifySuccess => "1325",
            Self::ModifyFailure => "1326",
            Self::DeleteSuccess => "1329",
            Self::DeleteFailure => "1330",
            Self::GetSuccess => "1331",
            Self::NoData => "1359",
            Self::DuplicateName => "6554",
            Self::InvalidChildConfig => "6565",
            Self::AttachedToPlan => "8196",
            Self::RatConflict(_) => "10085",
            Self::AddonServiceChange => "10100",
            Self::ObsoleteAccessType => "10111",
            Self::IncorrectValue(_) => "10117",
            Self::BadCredentials => "10126",
            Self::AccountLocked => "11044",
            Self::Unauthorized => "401",
        }
    }

    /// Documented: 10085, 1326 and 1330 are shown with an outer "0" although they are failures.
    fn outer(&self) -> &'static str {
        match self {
            Self::CreateSuccess | Self::GetSuccess | Self::ModifySuccess | Self::DeleteSuccess => {
                "0"
            }
            Self::ModifyFailure | Self::DeleteFailure | Self::RatConflict(_) => "0",
            _ => "1",
        }
    }

    fn description(&self) -> String {
        match self {
            // Documented: the example names the entity twice and ends with a period, unlike the table.
            Self::RatConflict(child) => format!(
                "Service profile change denied due to conflicting RAT privileges assigned by {child}. \
                 Please first update the service profile(s) of {child}."
            ),
            Self::IncorrectValue(field) => format!("Incorrect value in {field}"),
            other => describe(other.code()).to_owned(),
        }
    }
}

/// The documented text of a code.
fn describe(code: &str) -> &'static str {
    match code {
        "1323" => "Create service profile success",
        "1324" => "Create service profile failure",
        "1325" => "Modify service profile success",
        "1326" => "Modify service profile failure",
        "1328" => "Get service profile failure",
        "1329" => "Delete service profile success",
        "1330" => "Delete service profile failure",
        "1331" => "Get service profile success",
        "1338" | "8196" => "Service profile attached to plan, so deletion failure",
        "1359" => "No data available",
        "6554" => "Duplicate service profile name",
        "6565" => "Invalid child config for service profile",
        "10100" => "Service modification not allowed for the addon - service",
        "10111" => "Obsolete access type value",
        "10126" => "BadCredential Exception: Username or Password not valid",
        "10239" => {
            "Operation has failure. Request has been received and it has failed. \
             Please verify the request has been completed successfully or not"
        }
        "10240" => {
            "Operation has Time out. Request has been received and it has timeout. \
             Please verify the request has been completed successfully or not."
        }
        // Inferred wording; only the meaning is documented.
        "11044" => "Account blocked due to multiple failed login attempts",
        "401" => "Authorization Failed",
        _ => "Result of the sandbox",
    }
}

/// The answer with no payload.
pub(super) fn envelope(verdict: &Verdict, codes: Codes) -> Value {
    let inner = match verdict {
        Verdict::AttachedToPlan => codes.in_use,
        other => other.code(),
    };
    let outer = match verdict {
        Verdict::Unauthorized => codes.unauthorized_outer,
        other => other.outer(),
    };
    build(inner, &verdict.description(), outer)
}

/// An answer with any code. The outer one follows the documents unless given.
pub(super) fn any_result(code: &str, description: Option<&str>, outer: Option<&str>) -> Value {
    let usual_outer = match code {
        "1323" | "1325" | "1329" | "1331" | "1326" | "1330" | "10085" => "0",
        _ => "1",
    };
    build(code, description.unwrap_or(describe(code)), outer.unwrap_or(usual_outer))
}

fn build(inner: &str, description: &str, outer: &str) -> Value {
    json!({"Response": {
        "responseId": response_id(),
        "responseTimestamp": timestamp(SystemTime::now()),
        "resultCode": outer,
        "resultParam": {"resultCode": inner, "resultDescription": description},
    }})
}

pub(super) fn list_answer(profiles: Vec<Value>, codes: Codes) -> Value {
    let mut answer = envelope(&Verdict::GetSuccess, codes);
    let payload = json!({
        // A string on the wire (documented).
        "totalCount": profiles.len().to_string(),
        "serviceProfileList": profiles,
    });
    add(&mut answer, "responseParam", payload);
    answer
}

/// Documented: directly under `Response`, not in `responseParam`.
pub(super) fn add_created_id(answer: &mut Value, id: &str) {
    add(answer, "serviceProfile", id.into());
}

fn add(answer: &mut Value, name: &str, member: Value) {
    if let Some(response) = answer.get_mut("Response").and_then(Value::as_object_mut) {
        response.insert(name.to_owned(), member);
    }
}

/// Documented: no envelope, and names in PascalCase.
pub(super) fn token_answer(pair: &TokenPair) -> Value {
    json!({"AccessToken": pair.access, "RefreshToken": pair.refresh})
}

/// `Request.requestParam.serviceProfile`.
pub(super) fn profile_fields(body: &Value) -> Option<&Map<String, Value>> {
    body.pointer("/Request/requestParam/serviceProfile")?.as_object()
}

/// A profile as reads show it.
pub(super) fn read_model(id: &str, profile: &Profile) -> Value {
    let mut members = Map::new();
    members.insert("profileId".to_owned(), id.into());
    members.insert("profileName".to_owned(), profile.name.as_str().into());
    members.insert("status".to_owned(), profile.status.as_str().into());
    members
        .insert("serviceName".to_owned(), in_read_order(profile.services.clone()).join("|").into());
    // Documented: left out for a profile with NB-IoT only.
    if let Some(rat) = &profile.rat {
        members.insert("ratTypeName".to_owned(), rat.as_str().into());
    }
    members.insert("category".to_owned(), profile.category.as_str().into());
    for (name, member) in &profile.extra {
        members.insert(name.clone(), member.clone());
    }
    Value::Object(members)
}

/// The names for a list of ids such as `4|2|3`, in the order of reads and each once (inferred: a list is a set).
/// `None` when it is empty or an id is not known.
pub(super) fn services_from_ids(ids: &str) -> Option<Vec<String>> {
    let names = ids
        .split('|')
        .map(|id| {
            let (_, name, _) = SERVICES.iter().find(|(known, ..)| *known == id)?;
            Some((*name).to_owned())
        })
        .collect::<Option<Vec<_>>>()?;
    let mut names = in_read_order(names);
    names.dedup();
    Some(names)
}

/// Names the vendor does not have stay behind the others, in the order given.
fn in_read_order(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| {
        SERVICES.iter().position(|(_, known, _)| known == name).unwrap_or(SERVICES.len())
    });
    names
}

pub(super) fn needs_rat(services: &[String]) -> bool {
    services.iter().any(|name| SERVICES.iter().any(|(_, known, needs)| *needs && known == name))
}

pub(super) fn rat_from_code(code: &str) -> Option<&'static str> {
    RATS.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// The higher the more; none is less than any. A name the vendor does not have counts as none.
pub(super) fn rat_rank(name: Option<&str>) -> usize {
    name.and_then(|name| RATS.iter().position(|(_, known)| *known == name))
        .map_or(0, |position| position + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_names_in_the_order_of_reads() {
        for (ids, names) in [
            ("4|2|3", Some("DATA|MO-SMS|MT-SMS")),
            ("3|2|4|2", Some("DATA|MO-SMS|MT-SMS")),
            ("5|4", Some("DATA|NB-IOT")),
            ("5", Some("NB-IOT")),
            ("", None),
            ("1", None),
            ("4|", None),
            ("04", None),
            ("DATA", None),
        ] {
            let found = services_from_ids(ids).map(|names| names.join("|"));
            assert_eq!(found.as_deref(), names, "{ids}");
        }
    }

    #[test]
    fn rats_rank_by_generation_not_by_code() {
        let ranks: Vec<_> =
            [None, Some("2G"), Some("2G/3G"), Some("2G/3G/4G"), Some("2G/3G/4G/5G")]
                .into_iter()
                .map(rat_rank)
                .collect();
        assert_eq!(ranks, [0, 1, 2, 3, 4]);
        assert_eq!(rat_from_code("02"), Some("2G"));
        assert_eq!(rat_from_code("2"), None);
    }

    #[test]
    fn outer_code_is_success_on_the_failures_documented_so() {
        let codes = Codes { in_use: "8196", unauthorized_outer: "1" };
        for (verdict, inner, outer) in [
            (Verdict::CreateFailure, "1324", "1"),
            (Verdict::ModifyFailure, "1326", "0"),
            (Verdict::DeleteFailure, "1330", "0"),
            (Verdict::RatConflict("X".to_owned()), "10085", "0"),
            (Verdict::AttachedToPlan, "8196", "1"),
            (Verdict::NoData, "1359", "1"),
            (Verdict::Unauthorized, "401", "1"),
        ] {
            let body = envelope(&verdict, codes);
            assert_eq!(body["Response"]["resultParam"]["resultCode"], inner);
            assert_eq!(body["Response"]["resultCode"], outer, "{inner}");
        }
        let codes = Codes { in_use: "1338", unauthorized_outer: "401" };
        let body = envelope(&Verdict::AttachedToPlan, codes);
        assert_eq!(body["Response"]["resultParam"]["resultCode"], "1338");
        assert_eq!(envelope(&Verdict::Unauthorized, codes)["Response"]["resultCode"], "401");
    }
}

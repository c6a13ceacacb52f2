//! Data limits: custom limits of a profile, in bytes, beside the assignable ones of the catalog.
//!
//! Documented: only for the Data service, only monthly, one for each combination of service and
//! `satellite_only`, no update, and 403 for a profile that is not there or not accessible. They
//! have members of their own in no other answer.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    catalog::{self, id_of, number},
    wire::{BAD_REQUEST, DUPLICATED, FORBIDDEN, Refusal},
};
use crate::store::Members;

/// The only service that can have one.
const DATA: i64 = 38;
/// The only period.
const MONTHLY: i64 = 2;

/// The data limits of the account, by profile. Each has at most two.
#[derive(Clone, Default)]
pub(super) struct DataLimits {
    rows: BTreeMap<i64, Vec<Value>>,
    last: i64,
}

impl DataLimits {
    pub(super) fn list(&self, profile: i64) -> Vec<Value> {
        self.rows.get(&profile).cloned().unwrap_or_default()
    }

    /// Adds a limit. Its id is not in the answer (documented).
    pub(super) fn add(&mut self, profile: i64, body: &Members) -> Result<i64, Refusal> {
        let members = body.get("service").and_then(Value::as_object);
        let service = members.and_then(|members| members.get("id")).and_then(number);
        let period = body.get("period").map_or(Some(MONTHLY), id_of);
        let volume = body.get("volume").and_then(number).filter(|volume| *volume >= 0);
        let satellite_only = match body.get("satellite_only") {
            None | Some(Value::Null) => Some(false),
            Some(flag) => flag.as_bool(),
        };
        let warning = match body.get("warning_percent") {
            None | Some(Value::Null) => Some(None),
            Some(percent) => percent.as_i64().filter(|n| (0..=100).contains(n)).map(Some),
        };
        let (Some(DATA), Some(MONTHLY), Some(volume), Some(satellite_only), Some(warning)) =
            (service, period, volume, satellite_only, warning)
        else {
            // Documented: 400. Inferred: code and text.
            return Err(Refusal::error(
                StatusCode::BAD_REQUEST,
                BAD_REQUEST,
                "Invalid data limit.",
            ));
        };
        let rows = self.rows.entry(profile).or_default();
        if rows.iter().any(|other| other.get("satellite_only") == Some(&json!(satellite_only))) {
            // Documented: 409. Inferred: code and text.
            let message = "The service already has such a data limit.";
            return Err(Refusal::error(StatusCode::CONFLICT, DUPLICATED, message));
        }
        self.last += 1;
        let description = catalog::find(catalog::SERVICE, DATA).and_then(|s| s.get("description"));
        rows.push(json!({
            "id": self.last,
            "service": {"id": DATA, "description": description},
            "satellite_only": satellite_only,
            "period": {"id": MONTHLY, "time_units": 1, "unit": "Months"},
            "volume": volume,
            "warning_percent": warning,
        }));
        Ok(self.last)
    }

    /// Removes one; inferred: one that is not there is not found.
    pub(super) fn remove(&mut self, profile: i64, limit: i64) -> Result<(), Refusal> {
        let rows = self.rows.entry(profile).or_default();
        let before = rows.len();
        rows.retain(|other| id_of(other) != Some(limit));
        match rows.len() < before {
            true => Ok(()),
            false => Err(Refusal::Missing { what: "Traffic limit", id: limit }),
        }
    }

    /// Removes all of a profile.
    pub(super) fn clear(&mut self, profile: i64) {
        self.rows.remove(&profile);
    }
}

/// Documented: 403, also for a profile that is not there.
pub(super) fn not_accessible() -> Refusal {
    let message = "You do not have the necessary permissions to access this entry point.";
    Refusal::error(StatusCode::FORBIDDEN, FORBIDDEN, message)
}

//! Switches for what the documents leave open.

use serde::{Deserialize, Serialize};

use super::wire::ErrorBody;

const MAX_PLANS: usize = 1_000;
const MAX_PLAN_NAME: usize = 255;

/// The switches, which the simulator uses and the control API shows and changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switches {
    /// Of a successful create: 201 with the profile, or 204 without (both documented).
    pub create_status: u16,
    pub error_body: ErrorBody,
    /// Whether a client that sends no `Accept` gets JSON (documented: XML).
    pub json_by_default: bool,
    /// Whether a name can be used once only.
    pub unique_names: bool,
    /// Whether the plan that a write names must be one of `core_plans`.
    pub check_core_plans: bool,
    /// The plans there are.
    pub core_plans: Vec<String>,
    /// Whether profiles have `_links`, as sibling objects do.
    pub links: bool,
    /// Whether reads show texts that were never set as null.
    pub absent_as_null: bool,
}

impl Default for Switches {
    fn default() -> Self {
        let plans = ["turkey", "prepaidCORE", "postpaidCORE", "iotCORE"];
        Self {
            create_status: 201,
            error_body: ErrorBody::Documented,
            json_by_default: false,
            unique_names: true,
            check_core_plans: true,
            core_plans: plans.map(str::to_owned).to_vec(),
            links: false,
            absent_as_null: false,
        }
    }
}

impl Switches {
    pub(super) fn check(&self) -> Result<(), String> {
        if ![201, 204].contains(&self.create_status) {
            return Err("`create_status` must be 201 or 204".to_owned());
        }
        let are_short = self.core_plans.iter().all(|name| name.len() <= MAX_PLAN_NAME);
        if self.core_plans.len() > MAX_PLANS || !are_short {
            return Err(format!(
                "`core_plans` must be at most {MAX_PLANS} names of at most {MAX_PLAN_NAME} bytes"
            ));
        }
        Ok(())
    }
}

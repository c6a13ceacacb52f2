//! The results of SFT requests: the inner and outer codes, and their texts.

/// Codes on which the documents are not clear, so that they can be switched.
#[derive(Clone, Copy)]
pub(super) struct Codes {
    pub in_use: &'static str,
    pub unauthorized_outer: &'static str,
}

/// The result of a request.
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
    /// The child entity that prevents the change.
    RatConflict(String),
    AddonServiceChange,
    ObsoleteAccessType,
    Unauthorized,
    BadCredentials,
    /// The field.
    IncorrectValue(String),
    AccountLocked,
}

impl Verdict {
    /// The inner result code; the usual one if it can be switched.
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
    pub(super) fn outer(&self) -> &'static str {
        match self {
            Self::CreateSuccess | Self::GetSuccess | Self::ModifySuccess | Self::DeleteSuccess => {
                "0"
            }
            Self::ModifyFailure | Self::DeleteFailure | Self::RatConflict(_) => "0",
            _ => "1",
        }
    }

    pub(super) fn description(&self) -> String {
        match self {
            // Documented: the example names the entity twice and ends with a period, unlike the
            // table.
            Self::RatConflict(child) => format!(
                "Service profile change denied due to conflicting RAT privileges assigned by \
                 {child}. Please first update the service profile(s) of {child}."
            ),
            Self::IncorrectValue(field) => format!("Incorrect value in {field}"),
            other => describe(other.code()).to_owned(),
        }
    }
}

/// The documented text of a code.
pub(super) fn describe(code: &str) -> &'static str {
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

//! Paths and methods of the endpoint API, and the names of its operations.

use http::{Method, StatusCode};

use super::{
    catalog,
    wire::{self, Refusal},
};

pub(super) const AUTHENTICATE: &str = "authenticate";
pub(super) const LIST: &str = "ListProfiles";
pub(super) const CREATE: &str = "CreateProfile";
pub(super) const GET: &str = "GetProfile";
pub(super) const PATCH: &str = "PatchProfile";
pub(super) const DELETE: &str = "DeleteProfile";
pub(super) const PUT_SERVICE: &str = "PutService";
pub(super) const DELETE_SERVICE: &str = "DeleteService";
pub(super) const PUT_LIMIT: &str = "PutTrafficLimit";
pub(super) const DELETE_LIMIT: &str = "DeleteTrafficLimit";
pub(super) const LIST_SERVICE_LIMITS: &str = "ListServiceTrafficLimits";
pub(super) const LIST_DATA_LIMITS: &str = "ListProfileTrafficLimits";
pub(super) const ADD_DATA_LIMIT: &str = "AddProfileTrafficLimit";
pub(super) const DELETE_DATA_LIMITS: &str = "DeleteProfileTrafficLimits";
pub(super) const DELETE_DATA_LIMIT: &str = "DeleteProfileTrafficLimit";
pub(super) const OPERATIONS: &[&str] = &[
    AUTHENTICATE,
    LIST,
    CREATE,
    GET,
    PATCH,
    DELETE,
    PUT_SERVICE,
    DELETE_SERVICE,
    PUT_LIMIT,
    DELETE_LIMIT,
    LIST_DATA_LIMITS,
    ADD_DATA_LIMIT,
    DELETE_DATA_LIMITS,
    DELETE_DATA_LIMIT,
    "ListServices",
    LIST_SERVICE_LIMITS,
    "ListTrafficLimits",
    "ListDns",
    "ListEsmeInterfaceTypes",
    "ListBreakoutRegions",
    "ListApiCallbacks",
    "ListApiSecrets",
];

/// Maximum length of a path segment that an error quotes.
const MAX_QUOTED: usize = 64;

/// Operations that return a whole collection of the catalog, with the path below the prefix, which
/// is also the kind.
const LOOKUPS: [(&str, &str); 7] = [
    ("ListServices", catalog::SERVICE),
    ("ListTrafficLimits", catalog::TRAFFIC_LIMIT),
    ("ListDns", catalog::DNS),
    ("ListEsmeInterfaceTypes", catalog::ESME_INTERFACE_TYPE),
    ("ListBreakoutRegions", catalog::BREAKOUT_REGION),
    ("ListApiCallbacks", catalog::API_CALLBACK),
    ("ListApiSecrets", catalog::API_SECRET),
];

/// The kind of object a lookup lists.
pub(super) fn lookup(operation: &str) -> Option<&'static str> {
    LOOKUPS.iter().find(|(name, _)| *name == operation).map(|(_, kind)| *kind)
}

/// What a path names.
pub(super) struct Route<'a> {
    /// Which methods it has, and the operation each is.
    pub methods: Vec<(Method, &'static str)>,
    /// Profile, service and traffic limit as written; `None` for those that the path does not have.
    ids: [Option<&'a str>; 3],
}

impl Route<'_> {
    /// Profile, service and traffic limit; 0 for those that the path does not have.
    pub(super) fn numbers(&self) -> Result<[i64; 3], Refusal> {
        let [profile, service, limit] = self.ids;
        Ok([
            parse("id", profile)?,
            parse("service_id", service)?,
            parse("traffic_limit_id", limit)?,
        ])
    }
}

/// Observed wording; the names of the second and third parameter are inferred.
fn parse(parameter: &str, text: Option<&str>) -> Result<i64, Refusal> {
    let Some(text) = text else { return Ok(0) };
    text.parse().map_err(|_| {
        let quoted: String = text.chars().take(MAX_QUOTED).collect();
        Refusal::error(
            StatusCode::BAD_REQUEST,
            wire::BAD_REQUEST,
            format!("Cannot parse parameter {parameter} as Long: For input string: \"{quoted}\""),
        )
    })
}

/// `None` for a path that the vendor does not have.
pub(super) fn find(path: &str) -> Option<Route<'_>> {
    let mut parts: Vec<&str> = path.strip_prefix("/api/v1/")?.split('/').collect();
    if parts.len() > 1 && parts.last() == Some(&"") {
        // Documented in one place for the list (`/service_profile/`), so accepted everywhere.
        parts.pop();
    }
    let (methods, ids) = match *parts.as_slice() {
        ["authenticate"] => (vec![(Method::POST, AUTHENTICATE)], [None; 3]),
        ["service_profile"] => (vec![(Method::GET, LIST), (Method::POST, CREATE)], [None; 3]),
        ["service_profile", profile] => (
            vec![(Method::GET, GET), (Method::PATCH, PATCH), (Method::DELETE, DELETE)],
            [Some(profile), None, None],
        ),
        ["service_profile", profile, "service", service] => (
            vec![(Method::PUT, PUT_SERVICE), (Method::DELETE, DELETE_SERVICE)],
            [Some(profile), Some(service), None],
        ),
        ["service_profile", profile, "service", service, "traffic_limit", limit] => (
            vec![(Method::PUT, PUT_LIMIT), (Method::DELETE, DELETE_LIMIT)],
            [Some(profile), Some(service), Some(limit)],
        ),
        ["service_profile", profile, "traffic_limit"] => (
            vec![
                (Method::GET, LIST_DATA_LIMITS),
                (Method::POST, ADD_DATA_LIMIT),
                (Method::DELETE, DELETE_DATA_LIMITS),
            ],
            [Some(profile), None, None],
        ),
        ["service_profile", profile, "traffic_limit", limit] => {
            (vec![(Method::DELETE, DELETE_DATA_LIMIT)], [Some(profile), None, Some(limit)])
        }
        ["service", service, "traffic_limit"] => {
            (vec![(Method::GET, LIST_SERVICE_LIMITS)], [None, Some(service), None])
        }
        [other] => {
            let (operation, _) = LOOKUPS.iter().find(|(_, path)| *path == other)?;
            (vec![(Method::GET, *operation)], [None; 3])
        }
        _ => return None,
    };
    Some(Route { methods, ids })
}

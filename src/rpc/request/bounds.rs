//! How often a request may repeat each field. The one table: the counting, its tests, and the
//! reference read it.

use std::fmt::Write as _;

/// The most unknown fields of a request. None is kept, but each is looked at.
pub(super) const MAX_UNKNOWN: u32 = 1024;

/// How often a field may be repeated.
pub(super) struct Bound {
    /// The full name of the field.
    pub field: &'static str,
    pub most: u32,
    pub within: Within,
}

/// Where the repetitions are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// In each element of the list around it, or in the request without one.
    Element,
    /// In the whole request.
    Request,
}

/// The bounds of every repeated field that a request can hold.
pub(super) const BOUNDS: [Bound; 9] = [
    bound("profilegateway.v1.Profile.services", 64, Within::Element),
    bound("profilegateway.v1.Service.traffic_limits", 64, Within::Element),
    // As many as are read of one profile.
    bound("profilegateway.v1.Service.traffic_limits", 1000, Within::Request),
    bound("profilegateway.v1.Profile.data_limits", 64, Within::Element),
    bound("profilegateway.v1.Profile.radio_access", 16, Within::Element),
    bound("google.protobuf.FieldMask.paths", 256, Within::Element),
    bound("profilegateway.v1.BatchGetProfilesRequest.names", 1000, Within::Element),
    // `unmapped` is never written. It is in a request because it was in the response before.
    bound("google.protobuf.Struct.fields", 4096, Within::Request),
    bound("google.protobuf.ListValue.values", 4096, Within::Request),
];

const fn bound(field: &'static str, most: u32, within: Within) -> Bound {
    Bound { field, most, within }
}

impl Bound {
    /// What is wrong with more than that.
    pub(super) fn exceeded(&self) -> String {
        let within = match self.within {
            Within::Element => "",
            Within::Request => " in one request",
        };
        format!("has more than {} elements{within}", self.most)
    }
}

/// The bounds as Markdown, for the page of clients.
#[must_use]
pub fn reference() -> String {
    let mut text = "| what | most |\n|---|---|\n".to_owned();
    for Bound { field, most, within } in &BOUNDS {
        let parts: Vec<&str> = field.rsplitn(3, '.').take(2).collect();
        let name = parts.into_iter().rev().collect::<Vec<_>>().join(".");
        let within = match within {
            Within::Element => "",
            Within::Request => " in the whole request",
        };
        let _ = writeln!(text, "| `{name}` | {most}{within} |");
    }
    let _ = writeln!(text, "| fields that the contract does not have | {MAX_UNKNOWN} |");
    text
}

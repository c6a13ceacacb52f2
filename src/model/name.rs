//! Resource names (AIP-122): `backends/{backend}/profiles/{profile}` and its parents, and
//! `backends/{backend}/doubtfulWrites/{doubtful_write}`.
//!
//! The only parser of names. Whether an id is valid in a dialect is up to the dialect.

use std::fmt;

use crate::{
    error::{Error, Result},
    text,
};

/// Longest name that is parsed, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// `backends/{backend}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendName(String);

/// `backends/{backend}/profiles/{profile}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileName {
    backend: BackendName,
    id: String,
}

/// `backends/{backend}/doubtfulWrites/{doubtful_write}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubtName {
    backend: BackendName,
    id: String,
}

/// `backends/{backend}`, or `backends/-` for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// Every configured backend.
    All,
    /// One backend.
    One(BackendName),
}

impl BackendName {
    /// Parses `backends/{backend}`; `field` is its path in the request.
    pub fn parse(field: &str, name: &str) -> Result<Self> {
        match segments(name).as_deref() {
            Some(["backends", id]) if *id != "-" => Ok(Self((*id).to_owned())),
            _ => Err(malformed(field, name, "backends/{backend}")),
        }
    }

    /// The name of a configured backend.
    #[must_use]
    pub fn of(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The last segment.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0
    }
}

impl ProfileName {
    /// Parses `backends/{backend}/profiles/{profile}`; `field` is its path in the request.
    pub fn parse(field: &str, name: &str) -> Result<Self> {
        match segments(name).as_deref() {
            Some(["backends", backend, "profiles", id]) if *backend != "-" && *id != "-" => {
                Ok(Self::of(&BackendName::of(backend), id))
            }
            _ => Err(malformed(field, name, "backends/{backend}/profiles/{profile}")),
        }
    }

    /// The name of a profile in a backend.
    #[must_use]
    pub fn of(backend: &BackendName, id: &str) -> Self {
        Self { backend: backend.clone(), id: id.to_owned() }
    }

    /// The backend that has the profile.
    #[must_use]
    pub fn backend(&self) -> &BackendName {
        &self.backend
    }

    /// The upstream's own id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole name. Formatting it would take several times as long, and refusals need it.
    #[must_use]
    pub fn whole(&self) -> String {
        ["backends/", self.backend.id(), "/profiles/", &self.id].concat()
    }
}

impl DoubtName {
    /// Parses `backends/{backend}/doubtfulWrites/{doubtful_write}`; `field` is its path in the
    /// request.
    pub fn parse(field: &str, name: &str) -> Result<Self> {
        match segments(name).as_deref() {
            Some(["backends", backend, "doubtfulWrites", id]) if *backend != "-" && *id != "-" => {
                Ok(Self { backend: BackendName::of(backend), id: (*id).to_owned() })
            }
            _ => {
                let pattern = "backends/{backend}/doubtfulWrites/{doubtful_write}";
                Err(malformed(field, name, pattern))
            }
        }
    }

    /// The name of a write to a backend that has this number.
    #[must_use]
    pub fn of(backend: &BackendName, number: u64) -> Self {
        Self { backend: backend.clone(), id: number.to_string() }
    }

    /// The number of the write; `None` for a name that no write has.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.id.parse().ok().filter(|number: &u64| number.to_string() == self.id)
    }

    /// The backend to which it was sent.
    #[must_use]
    pub fn backend(&self) -> &BackendName {
        &self.backend
    }
}

impl Parent {
    /// Parses `backends/{backend}` or `backends/-`; `field` is its path in the request.
    pub fn parse(field: &str, name: &str) -> Result<Self> {
        match segments(name).as_deref() {
            Some(["backends", "-"]) => Ok(Self::All),
            Some(["backends", id]) => Ok(Self::One(BackendName::of(id))),
            _ => Err(malformed(field, name, "backends/{backend} or backends/-")),
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backends/{}", self.0)
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/profiles/{}", self.backend, self.id)
    }
}

impl fmt::Display for DoubtName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/doubtfulWrites/{}", self.backend, self.id)
    }
}

/// The segments of a name that is not too long and has no empty segments or control characters.
fn segments(name: &str) -> Option<Vec<&str>> {
    if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return None;
    }
    let segments: Vec<&str> = name.split('/').collect();
    segments.iter().all(|segment| !segment.is_empty()).then_some(segments)
}

fn malformed(field: &str, name: &str, pattern: &str) -> Error {
    let description = match name.len() {
        0 => format!("is required; the format is {pattern}"),
        n if n > MAX_NAME_BYTES => {
            format!("is {n} bytes long; the limit is {MAX_NAME_BYTES}, in the format {pattern}")
        }
        _ => format!("{} does not match {pattern}", text::quoted(name)),
    };
    Error::invalid_field(field, description)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn parses_what_it_displays() {
        let name = ProfileName::parse("name", "backends/sft/profiles/SP_343").unwrap();
        assert_eq!((name.backend().id(), name.id()), ("sft", "SP_343"));
        assert_eq!(name.to_string(), "backends/sft/profiles/SP_343");
        assert_eq!(Parent::parse("parent", "backends/-").unwrap(), Parent::All);
        let doubt = DoubtName::parse("name", "backends/sft/doubtfulWrites/7").unwrap();
        assert_eq!(doubt, DoubtName::of(&BackendName::of("sft"), 7));
        assert_eq!(DoubtName::parse("name", &doubt.to_string()).unwrap().number(), Some(7));
        for odd in ["07", "+7", "seven", "7 ", "18446744073709551616", "٧"] {
            let name = format!("backends/sft/doubtfulWrites/{odd}");
            assert_eq!(DoubtName::parse("name", &name).unwrap().number(), None, "{odd}");
        }
    }

    #[test]
    fn refuses_malformed_names() {
        let long = format!("backends/a/profiles/{}", "1".repeat(10_000));
        for bad in [
            "",
            "SP_1",
            "/",
            "backends//profiles/1",
            "backends/a/profiles/",
            "backends/a/profiles",
            "backends/a/profiles/1/2",
            "backends/-/profiles/1",
            "backends/a/profiles/-",
            "backends/a/profiles/1\0",
            "backends/a\n/profiles/1",
            "Backends/a/profiles/1",
            &long,
        ] {
            let error = ProfileName::parse("name", bad).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{bad:?}");
            assert!(error.message().len() < 300, "{bad:?}");
            let doubt = bad.replace("/profiles", "/doubtfulWrites");
            let error = DoubtName::parse("name", &doubt).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{doubt:?}");
        }
    }
}

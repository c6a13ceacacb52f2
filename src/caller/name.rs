//! The name of a caller that has proved who it is.

use std::{fmt, str::FromStr};

/// The longest name.
const MAX_BYTES: usize = 32;

/// What the process calls itself and those that it does not tell apart.
const RESERVED: [&str; 3] = ["others", "gateway", "backend"];

/// The name of a caller as the configuration has it. It is no address, and none of the words that
/// stand for others than callers, so what is shown of a caller says who it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    bytes: [u8; MAX_BYTES],
    length: u8,
}

/// What a name has to be.
pub const FORM: &str = "1 to 32 lower-case letters, digits and hyphens, beginning with a letter \
                        and not ending with a hyphen, and none of `others`, `gateway`, `backend`";

/// A text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {FORM}")]
pub struct NotAName;

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        // They are ASCII.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !text.starts_with(|first: char| first.is_ascii_lowercase())
            || text.ends_with('-')
            || !text.bytes().all(fits)
            || RESERVED.contains(&text)
        {
            return Err(NotAName);
        }
        let (mut bytes, length) = ([0; MAX_BYTES], u8::try_from(text.len()).map_err(|_| NotAName)?);
        let room = bytes.get_mut(..text.len()).ok_or(NotAName)?;
        room.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_as_it_was_written_and_is_nothing_else() {
        let longest = "a".repeat(MAX_BYTES);
        for name in ["a", "billing", "team-7", &longest] {
            assert_eq!(name.parse::<Name>().unwrap().to_string(), name);
        }
        let too_long = "a".repeat(MAX_BYTES + 1);
        for other in ["", "7a", "-a", "a-", "A", "a b", "é", "a.b", "::1", "others", &too_long] {
            assert_eq!(other.parse::<Name>(), Err(NotAName), "{other}");
        }
        assert_eq!("gateway".parse::<Name>(), Err(NotAName));
        assert_eq!("backend".parse::<Name>(), Err(NotAName));
    }
}

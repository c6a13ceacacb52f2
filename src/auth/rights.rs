//! What a caller may do in a backend, and which of it each method needs: one table.

use std::fmt;

use crate::model::method::Method;

/// Something that a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// See the backend, its profiles and its services.
    Read,
    /// Have the upstream asked although the cache has an answer.
    Fresh,
    /// See what a write would send.
    Preview,
    /// Create and change profiles.
    Write,
    /// Delete profiles.
    Delete,
    /// Look after the backend: purges, writes in doubt, its last error.
    Admin,
}

/// The right that is enough for a write that is only checked (`validate_only`). Who may carry out
/// the write may check it too.
pub const RIGHT_TO_VALIDATE: Right = Right::Preview;

/// The right that a method needs in each backend that it is about. One that reads from one backend
/// for another needs [`Right::Read`] in the first.
#[must_use]
pub const fn right_of(method: Method) -> Right {
    match method {
        Method::GetProfile
        | Method::ListProfiles
        | Method::BatchGetProfiles
        | Method::DiffProfiles
        | Method::WatchProfiles
        | Method::ListBackends
        | Method::GetBackend
        | Method::ListServices => Right::Read,
        Method::PreviewWrite | Method::TranslateProfile => Right::Preview,
        Method::CreateProfile
        | Method::UpdateProfile
        | Method::AttachService
        | Method::DetachService
        | Method::AttachTrafficLimit
        | Method::DetachTrafficLimit => Right::Write,
        Method::DeleteProfile => Right::Delete,
        Method::PurgeCache | Method::ListDoubtfulWrites | Method::CloseDoubtfulWrite => {
            Right::Admin
        }
    }
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Fresh, Self::Preview, Self::Write, Self::Delete, Self::Admin];

    /// The word for it in the configuration and in errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Fresh => "fresh",
            Self::Preview => "preview",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }

    /// The right of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name() == name)
    }
}

/// Some rights.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Whether this one is among them.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    /// Those that are in either.
    #[must_use]
    pub const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Their names, in the order of [`Right::ALL`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Right::ALL.into_iter().filter(move |right| self.has(*right)).map(Right::name)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |all, right| all | 1 << right as u8))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That each method has its row is held by the compiler, and that the list of methods is that of
    // the proto by a test beside the list.
    #[test]
    fn what_changes_something_needs_more_than_to_read() {
        for method in Method::ALL {
            let right = right_of(method);
            let changes = method.writes()
                || matches!(method, Method::PurgeCache | Method::CloseDoubtfulWrite);
            if changes {
                assert!(
                    matches!(right, Right::Write | Right::Delete | Right::Admin),
                    "{method:?} needs only {right:?}"
                );
            }
            assert_ne!(right, Right::Fresh, "{method:?}: it is asked for beside another");
        }
        assert_eq!(right_of(Method::DeleteProfile), Right::Delete);
    }

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        for one in Right::ALL {
            let set = Rights::from_iter([one]);
            for other in Right::ALL {
                assert_eq!(set.has(other), one == other);
            }
            assert_eq!(Right::of_name(one.name()), Some(one));
        }
        let all = Rights::from_iter(Right::ALL);
        assert_eq!(all.names().count(), Right::ALL.len());
        assert!(Rights::default().names().next().is_none());
        assert_eq!(Right::of_name("Read"), None);
    }
}

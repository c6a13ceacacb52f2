//! The methods of the two services, with the properties of each.
//!
//! A test compares this list with the services in the proto.

/// A method of `ProfileService` or `BackendService`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the RPCs")]
pub enum Method {
    GetProfile,
    ListProfiles,
    CreateProfile,
    UpdateProfile,
    DeleteProfile,
    AttachService,
    DetachService,
    AttachTrafficLimit,
    DetachTrafficLimit,
    BatchGetProfiles,
    PreviewWrite,
    TranslateProfile,
    DiffProfiles,
    WatchProfiles,
    ListBackends,
    GetBackend,
    ListServices,
    PurgeCache,
    ListDoubtfulWrites,
    CloseDoubtfulWrite,
}

/// What a method needs from a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The dialect supports it or does not.
    Itself,
    /// The gateway builds it from what every dialect has.
    Nothing,
    /// The gateway builds it from lists.
    Lists,
    /// It needs no upstream, so it is not a capability.
    NoUpstream,
}

impl Method {
    /// All methods, in the order of the proto.
    pub const ALL: [Self; 20] = [
        Self::GetProfile,
        Self::ListProfiles,
        Self::CreateProfile,
        Self::UpdateProfile,
        Self::DeleteProfile,
        Self::AttachService,
        Self::DetachService,
        Self::AttachTrafficLimit,
        Self::DetachTrafficLimit,
        Self::BatchGetProfiles,
        Self::PreviewWrite,
        Self::TranslateProfile,
        Self::DiffProfiles,
        Self::WatchProfiles,
        Self::ListBackends,
        Self::GetBackend,
        Self::ListServices,
        Self::PurgeCache,
        Self::ListDoubtfulWrites,
        Self::CloseDoubtfulWrite,
    ];

    /// The RPC's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetProfile => "GetProfile",
            Self::ListProfiles => "ListProfiles",
            Self::CreateProfile => "CreateProfile",
            Self::UpdateProfile => "UpdateProfile",
            Self::DeleteProfile => "DeleteProfile",
            Self::AttachService => "AttachService",
            Self::DetachService => "DetachService",
            Self::AttachTrafficLimit => "AttachTrafficLimit",
            Self::DetachTrafficLimit => "DetachTrafficLimit",
            Self::BatchGetProfiles => "BatchGetProfiles",
            Self::PreviewWrite => "PreviewWrite",
            Self::TranslateProfile => "TranslateProfile",
            Self::DiffProfiles => "DiffProfiles",
            Self::WatchProfiles => "WatchProfiles",
            Self::ListBackends => "ListBackends",
            Self::GetBackend => "GetBackend",
            Self::ListServices => "ListServices",
            Self::PurgeCache => "PurgeCache",
            Self::ListDoubtfulWrites => "ListDoubtfulWrites",
            Self::CloseDoubtfulWrite => "CloseDoubtfulWrite",
        }
    }

    /// The method of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// What it needs from a dialect.
    #[must_use]
    pub const fn needs(self) -> Needs {
        match self {
            Self::GetProfile
            | Self::ListProfiles
            | Self::CreateProfile
            | Self::UpdateProfile
            | Self::DeleteProfile
            | Self::AttachService
            | Self::DetachService
            | Self::AttachTrafficLimit
            | Self::DetachTrafficLimit
            | Self::ListServices => Needs::Itself,
            Self::BatchGetProfiles
            | Self::PreviewWrite
            | Self::TranslateProfile
            | Self::DiffProfiles => Needs::Nothing,
            Self::WatchProfiles => Needs::Lists,
            Self::ListBackends
            | Self::GetBackend
            | Self::PurgeCache
            | Self::ListDoubtfulWrites
            | Self::CloseDoubtfulWrite => Needs::NoUpstream,
        }
    }

    /// Whether it changes profiles upstream.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::CreateProfile
                | Self::UpdateProfile
                | Self::DeleteProfile
                | Self::AttachService
                | Self::DetachService
                | Self::AttachTrafficLimit
                | Self::DetachTrafficLimit
        )
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

    use super::*;
    use crate::pb::DESCRIPTOR_SET;

    #[test]
    fn the_list_has_the_methods_of_the_proto() {
        let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
        let ours = set.file.into_iter().filter(|file| file.package() == "profilegateway.v1");
        let mut described = Vec::new();
        for service in ours.flat_map(|file| file.service) {
            for method in service.method {
                let level = method.options.clone().unwrap_or_default().idempotency_level();
                described.push((method.name().to_owned(), level));
            }
        }
        for (name, level) in &described {
            let method = Method::ALL.iter().find(|method| method.name() == name);
            let method = method.unwrap_or_else(|| panic!("{name} is not in the list"));
            if method.writes() {
                assert_ne!(*level, IdempotencyLevel::NoSideEffects, "{name}");
            } else if ![Method::PurgeCache, Method::CloseDoubtfulWrite].contains(method) {
                assert_eq!(*level, IdempotencyLevel::NoSideEffects, "{name}");
            }
        }
        assert_eq!(described.len(), Method::ALL.len());
    }

    #[test]
    fn each_method_is_listed_once() {
        for (at, method) in Method::ALL.iter().enumerate() {
            assert_eq!(Method::ALL.iter().position(|other| other == method), Some(at));
            assert_eq!(format!("{method:?}"), method.name());
        }
    }
}

//! Requests in the normalized model, short enough for tables.

use profile_gateway::pb::{
    Category, GetProfileRequest, ListProfilesRequest, Profile, RadioAccess, Service, ServiceType,
    State, UpdateProfileRequest,
};
use prost_types::FieldMask;

pub use RadioAccess::{
    NbIot as NB_IOT, RadioAccess2g as R2G, RadioAccess3g as R3G, RadioAccess4g as R4G,
    RadioAccess5g as R5G,
};
pub use ServiceType::{Data as DATA, SmsMo as SMS_MO, SmsMt as SMS_MT};

pub const BACKEND: &str = "backends/sft";

/// The resource name of a profile of backend `sft`.
pub fn name(id: &str) -> String {
    format!("{BACKEND}/profiles/{id}")
}

pub fn service(kind: ServiceType) -> Service {
    Service { r#type: kind.into(), ..Service::default() }
}

pub fn service_id(id: &str) -> Service {
    Service { id: id.to_owned(), ..Service::default() }
}

/// A valid profile to create: DATA on 2G and 3G, active, base.
pub fn profile(display_name: &str) -> Profile {
    Profile {
        display_name: display_name.to_owned(),
        state: State::Active.into(),
        category: Category::Base.into(),
        ..with(&[DATA], &[R2G, R3G])
    }
}

/// A profile with only services and radio access.
pub fn with(services: &[ServiceType], radio_access: &[RadioAccess]) -> Profile {
    Profile {
        services: services.iter().copied().map(service).collect(),
        radio_access: radio_access.iter().map(|access| i32::from(*access)).collect(),
        ..Profile::default()
    }
}

/// A profile to update, with only a name.
pub fn named(id: &str) -> Profile {
    Profile { name: name(id), ..Profile::default() }
}

/// The request that renames a profile.
pub fn rename(id: &str, display_name: &str) -> UpdateProfileRequest {
    UpdateProfileRequest {
        profile: Some(Profile { display_name: display_name.to_owned(), ..named(id) }),
        update_mask: Some(mask(&["display_name"])),
        ..UpdateProfileRequest::default()
    }
}

pub fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

pub fn get(id: &str) -> GetProfileRequest {
    GetProfileRequest { name: name(id), read_mask: None }
}

pub fn list(parent: &str) -> ListProfilesRequest {
    ListProfilesRequest { parent: parent.to_owned(), ..ListProfilesRequest::default() }
}

/// What a read shows of services and radio access, by id and value.
pub fn shape(profile: &Profile) -> (Vec<&str>, Vec<RadioAccess>) {
    let access = profile.radio_access.iter().map(|n| RadioAccess::try_from(*n).unwrap());
    (profile.services.iter().map(|s| s.id.as_str()).collect(), access.collect())
}

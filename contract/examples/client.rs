//! A caller in Rust: lists profiles, creates one with a mistake in it, decodes what the gateway
//! says of that, then creates, updates and deletes a sound one.
//!
//! ```console
//! $ cargo run                                           # in one terminal: the gateway with its
//! sandbox $ cargo run -p profile-gateway-contract --example client http://127.0.0.1:50051    # in
//! another
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use profile_gateway_contract::{
    Category, CreateProfileRequest, DeleteProfileRequest, ListProfilesRequest, Profile,
    RadioAccess, Service, ServiceType, State, UpdateProfileRequest,
    profile_service_client::ProfileServiceClient,
};
use prost_types::FieldMask;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use uuid::Uuid;

const BACKEND: &str = "backends/sft";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let channel = Endpoint::new(address)?.connect_timeout(Duration::from_secs(5)).connect().await?;
    let mut client = ProfileServiceClient::new(channel);
    list(&mut client).await?;

    // SFT has 4G only together with what came before it.
    let mut profile = profile(&[RadioAccess::RadioAccess4g]);
    match create(&mut client, &profile).await {
        Ok(created) => println!("created {}, which should not be possible", created.name),
        Err(status) => explain(&status),
    }

    let generations =
        [RadioAccess::RadioAccess2g, RadioAccess::RadioAccess3g, RadioAccess::RadioAccess4g];
    profile.radio_access = generations.map(i32::from).to_vec();
    let created = create(&mut client, &profile).await?;
    println!("created {} with etag {}", created.name, created.etag);

    let name = created.name.clone();
    let renamed = update(&mut client, created).await?;
    println!("renamed it to {:?}", renamed.display_name);

    let delete = DeleteProfileRequest { name: name.clone(), ..DeleteProfileRequest::default() };
    client.delete_profile(timed(delete)).await?;
    println!("deleted {name}");
    Ok(())
}

/// Every call should say how long its caller waits.
fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(30));
    request
}

async fn list(client: &mut ProfileServiceClient<Channel>) -> Result<(), Status> {
    let request = ListProfilesRequest {
        parent: BACKEND.to_owned(),
        page_size: 3,
        ..ListProfilesRequest::default()
    };
    for profile in client.list_profiles(timed(request)).await?.into_inner().profiles {
        println!("{}: {}", profile.name, profile.display_name);
    }
    Ok(())
}

fn profile(radio_access: &[RadioAccess]) -> Profile {
    let data = Service { r#type: ServiceType::Data.into(), ..Service::default() };
    Profile {
        display_name: format!("Made with Rust {}", Uuid::new_v4().simple()),
        state: State::Active.into(),
        category: Category::Base.into(),
        radio_access: radio_access.iter().copied().map(i32::from).collect(),
        services: vec![data],
        ..Profile::default()
    }
}

async fn create(
    client: &mut ProfileServiceClient<Channel>,
    profile: &Profile,
) -> Result<Profile, Status> {
    // With a request id, a client that does not know whether the create arrived may send it again:
    // the profile is created once.
    let request = CreateProfileRequest {
        parent: BACKEND.to_owned(),
        profile: Some(profile.clone()),
        request_id: Uuid::new_v4().to_string(),
        ..CreateProfileRequest::default()
    };
    Ok(client.create_profile(timed(request)).await?.into_inner())
}

/// Changes the name alone, and only if the profile has not changed since it was read.
async fn update(
    client: &mut ProfileServiceClient<Channel>,
    mut profile: Profile,
) -> Result<Profile, Status> {
    profile.display_name.push_str(", renamed");
    let request = UpdateProfileRequest {
        profile: Some(profile),
        update_mask: Some(FieldMask { paths: vec!["display_name".to_owned()] }),
        request_id: Uuid::new_v4().to_string(),
        ..UpdateProfileRequest::default()
    };
    Ok(client.update_profile(timed(request)).await?.into_inner())
}

/// What the error details say, for programs and for people.
fn explain(status: &Status) {
    println!("{:?}: {}", status.code(), status.message());
    let details = status.get_error_details();
    if let Some(info) = details.error_info() {
        println!("  reason {}", info.reason);
    }
    if let Some(bad) = details.bad_request() {
        for violation in &bad.field_violations {
            println!("  field {}: {}", violation.field, violation.description);
        }
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        println!("  may be tried again after {delay:?}");
    }
}

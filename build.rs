//! Generates what only the gateway needs of the contract, from the descriptors that the contract's
//! crate compiled: its servers, and the messages that hold encoded profiles.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_build::{Service, ServiceGenerator};
use prost_types::FileDescriptorSet;

const PACKAGE: &str = "profilegateway.v1";

/// Methods that the server answers with bytes that are encoded already, as a cache keeps them.
const ANSWERED_AS_BYTES: [&str; 4] =
    ["GetProfile", "ListProfiles", "WatchProfiles", "BatchGetProfiles"];

/// Messages of those answers, which hold profiles as bytes in turn.
const HOLDING_BYTES: [&str; 4] =
    ["ListProfilesResponse", "BatchGetProfilesResponse", "WatchProfilesResponse", "ProfileChange"];

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::var("DEP_PROFILE_GATEWAY_CONTRACT_DESCRIPTORS")?;
    println!("cargo::rerun-if-changed={path}");
    let descriptors = FileDescriptorSet::decode(&*fs::read(path)?)?;
    generate_servers(descriptors.clone())?;
    generate_messages(descriptors)
}

fn generate_servers(descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let servers = tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .codec_path("crate::rpc::request::Checked")
        .service_generator();
    prost_build::Config::new()
        .extern_path(format!(".{PACKAGE}"), "::profile_gateway_contract")
        .service_generator(Box::new(Servers(servers)))
        .compile_fds(descriptors)?;
    Ok(())
}

fn generate_messages(descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?).join("encoded");
    fs::create_dir_all(&out)?;
    let mut config = prost_build::Config::new();
    config.out_dir(out);
    for file in descriptors.file.iter().filter(|file| file.package() == PACKAGE) {
        let messages = file.message_type.iter().map(|message| message.name());
        let enums = file.enum_type.iter().map(|one| one.name());
        for name in messages.chain(enums).filter(|name| !HOLDING_BYTES.contains(name)) {
            let path = match name {
                "Profile" => "crate::pb::EncodedProfile".to_owned(),
                _ => format!("::profile_gateway_contract::{name}"),
            };
            config.extern_path(format!(".{PACKAGE}.{name}"), path);
        }
    }
    config.compile_fds(descriptors)?;
    Ok(())
}

/// Servers whose answers differ in [`ANSWERED_AS_BYTES`].
struct Servers(Box<dyn ServiceGenerator>);

impl ServiceGenerator for Servers {
    fn generate(&mut self, mut service: Service, buf: &mut String) {
        for method in &mut service.methods {
            if ANSWERED_AS_BYTES.contains(&method.proto_name.as_str()) {
                method.output_type = format!("crate::pb::Encoded<{}>", method.output_type);
            }
        }
        self.0.generate(service, buf);
    }

    fn finalize(&mut self, buf: &mut String) {
        self.0.finalize(buf);
    }
}

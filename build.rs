//! Compiles `proto/` to Rust with protox, so that nothing needs protoc.

use prost_build::{Service, ServiceGenerator};
use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 4] = [
    "profilegateway/v1/profile.proto",
    "profilegateway/v1/error_reason.proto",
    "profilegateway/v1/profile_service.proto",
    "profilegateway/v1/backend_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    // Reflection serves these bytes; tools show the comments in them.
    fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;

    prost_build::Config::new()
        .bytes(["."])
        .service_generator(Box::new(Services::new()))
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Methods that the server answers with bytes that are encoded already, as a cache keeps them.
const ANSWERED_AS_BYTES: [&str; 4] =
    ["GetProfile", "ListProfiles", "WatchProfiles", "BatchGetProfiles"];

/// Clients and servers, made one by one because their types differ in [`ANSWERED_AS_BYTES`].
struct Services {
    client: Box<dyn ServiceGenerator>,
    server: Box<dyn ServiceGenerator>,
}

impl Services {
    fn new() -> Self {
        // Clients take a channel of their own; the program has none.
        let code = || tonic_prost_build::configure().build_transport(false);
        Self {
            client: code().build_server(false).service_generator(),
            server: code().build_client(false).service_generator(),
        }
    }
}

impl ServiceGenerator for Services {
    fn generate(&mut self, mut service: Service, buf: &mut String) {
        self.client.generate(service.clone(), buf);
        for method in &mut service.methods {
            if ANSWERED_AS_BYTES.contains(&method.proto_name.as_str()) {
                method.output_type = format!("crate::pb::Encoded<super::{}>", method.output_type);
            }
        }
        self.server.generate(service, buf);
    }

    fn finalize(&mut self, buf: &mut String) {
        self.client.finalize(buf);
        self.server.finalize(buf);
    }
}

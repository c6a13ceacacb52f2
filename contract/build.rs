//! Compiles `proto/` to messages and clients with protox, so that nothing needs protoc.

use std::{env, error::Error, fs, path::PathBuf};

const PROTO: &str = "../proto";
const FILES: [&str; 4] = [
    "profilegateway/v1/profile.proto",
    "profilegateway/v1/error_reason.proto",
    "profilegateway/v1/profile_service.proto",
    "profilegateway/v1/backend_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");

    let mut compiler = protox::Compiler::new([PROTO])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    // Reflection serves these bytes; tools show the comments in them.
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;
    // The gateway's build script makes its servers of them.
    println!("cargo::metadata=descriptors={}", descriptors.display());

    let clients = tonic_prost_build::configure()
        .build_server(false)
        .build_transport(env::var_os("CARGO_FEATURE_TRANSPORT").is_some());
    prost_build::Config::new()
        .bytes(["."])
        // The gateway finds what it knows of a message by its name.
        .enable_type_names()
        .service_generator(clients.service_generator())
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

//! Compiles `proto/` to Rust with protox, so that nothing needs protoc.

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

    tonic_prost_build::configure()
        .bytes(".")
        // Clients take a channel of their own; the program has none.
        .build_transport(false)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

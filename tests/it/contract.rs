//! The contract as other programs use it: stubs come out of protoc without options, incompatible
//! changes are found, and comments say which dialects have a field.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use profile_gateway::pb::FieldSupport;
use prost_reflect::{DescriptorPool, FieldDescriptor};
use tempfile::TempDir;

use crate::conformance::{bench::bench, samples::registered};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Runs a program that `make tools` installs, or a script that uses such programs.
fn run(program: impl AsRef<Path>, args: &[&Path], directory: &Path) -> Output {
    let installed = [tools().join("node_modules/.bin"), tools().join("bin")];
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(installed.into_iter().chain(env::split_paths(&path))).unwrap();
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(args).current_dir(directory).env("PATH", path).env("TOOLS", tools());
    command.output().unwrap_or_else(|error| {
        panic!("{} cannot be run ({error}): `make test` installs it", program.display())
    })
}

#[track_caller]
fn succeeds(output: &Output) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// A file of the stubs, and a line that has to be in it.
const STUBS: [(&str, &str); 12] = [
    ("go/profilegateway/v1/profile.pb.go", "package profilegatewayv1"),
    ("go/profilegateway/v1/profile_service_grpc.pb.go", "package profilegatewayv1"),
    ("java/com/profilegateway/v1/Profile.java", "package com.profilegateway.v1;"),
    ("java/com/profilegateway/v1/ErrorReason.java", "package com.profilegateway.v1;"),
    ("java/com/profilegateway/v1/ProfileServiceGrpc.java", "package com.profilegateway.v1;"),
    ("java/com/profilegateway/v1/BackendServiceGrpc.java", "package com.profilegateway.v1;"),
    ("csharp/Profile.cs", "namespace ProfileGateway.V1 {"),
    ("csharp/ProfileService.cs", "namespace ProfileGateway.V1 {"),
    ("php/ProfileGateway/V1/Profile.php", "namespace ProfileGateway\\V1;"),
    ("ruby/profilegateway/v1/profile_pb.rb", "module ProfileGateway"),
    ("python/profilegateway/v1/profile_service_pb2_grpc.py", "class ProfileServiceStub:"),
    ("python/profilegateway/v1/profile_pb2.pyi", "class Profile(_message.Message):"),
];

#[test]
fn stubs_come_out_in_the_package_of_each_language() {
    let out = TempDir::new().unwrap();
    succeeds(&run(root().join("scripts/stubs"), &[out.path()], root()));
    for (file, line) in STUBS {
        let text = fs::read_to_string(out.path().join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.lines().any(|each| each == line), "{line:?} is not in {file}");
    }
    // Python finds its mistakes only when it loads the code.
    let python = tools().join("python/bin/python");
    let load = "from profilegateway.v1 import backend_service_pb2_grpc as backend, profile_pb2, \
                profile_service_pb2_grpc as profile\n\
                backend.BackendServiceStub, profile.ProfileServiceStub\n\
                assert profile_pb2.Profile(name='x').SerializeToString() == b'\\n\\x01x'";
    succeeds(&run(python, &["-c".as_ref(), load.as_ref()], &out.path().join("python")));
}

/// A copy of the contract with one replacement in a file.
fn changed(file: &str, from: &str, to: &str) -> TempDir {
    let copy = TempDir::new().unwrap();
    let protos = "proto/profilegateway/v1";
    fs::create_dir_all(copy.path().join(protos)).unwrap();
    fs::copy(root().join("buf.yaml"), copy.path().join("buf.yaml")).unwrap();
    for entry in fs::read_dir(root().join(protos)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(protos).join(entry.file_name())).unwrap();
    }
    let path = copy.path().join(protos).join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}");
    fs::write(path, text.replace(from, to)).unwrap();
    copy
}

fn breaking(contract: &Path) -> Output {
    run(root().join("scripts/breaking"), &[contract], root())
}

#[test]
fn the_contract_is_compatible_with_the_released_one() {
    succeeds(&breaking(root()));
}

#[test]
fn a_new_field_is_compatible() {
    let field = "int64 purged_count = 1;";
    let more = format!("{field}\n  // More.\n  int64 more = 2;");
    succeeds(&breaking(changed("backend_service.proto", field, &more).path()));
}

#[test]
fn an_incompatible_change_is_found() {
    for (file, from, to) in [
        ("backend_service.proto", "int64 purged_count = 1;", "int64 purged_count = 2;"),
        ("backend_service.proto", "int64 purged_count = 1;", "int64 count = 1;"),
        ("backend_service.proto", "int64 purged_count = 1;", "string purged_count = 1;"),
        ("profile.proto", "SERVICE_TYPE_USSD = 6;", "SERVICE_TYPE_USSD = 7;"),
        ("profile.proto", "\"com.profilegateway.v1\"", "\"com.example.v1\""),
        ("profile_service.proto", "rpc DiffProfiles(", "rpc CompareProfiles("),
    ] {
        let output = breaking(changed(file, from, to).path());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success() && text.contains(file), "{from} -> {to}: {text}");
    }
}

/// What a field's comment says after "Dialects:"; nothing if all dialects have it.
fn noted(field: &FieldDescriptor) -> Vec<String> {
    let message = field.parent_message();
    let file = message.parent_file().file_descriptor_proto().clone();
    let index = file.message_type.iter().position(|each| each.name() == message.name()).unwrap();
    let fields = &file.message_type[index].field;
    let place = fields.iter().position(|each| each.name() == field.name()).unwrap();
    // Numbers of `FileDescriptorProto.message_type` and `DescriptorProto.field`.
    let path = [4, index, 2, place];
    let path = path.map(|each| i32::try_from(each).unwrap());
    let locations = file.source_code_info.unwrap().location;
    let comment = locations.into_iter().find(|location| location.path == path).unwrap();
    let comment = comment.leading_comments().replace('\n', " ");
    let Some((_, note)) = comment.split_once("Dialects: ") else { return Vec::new() };
    let dialects = ["BICS_SFT", "ENDPOINT", "PCC"].into_iter();
    dialects.filter(|dialect| note.contains(dialect)).map(str::to_owned).collect()
}

#[tokio::test]
async fn comments_name_the_dialects_that_have_a_field() {
    let pool = DescriptorPool::decode(profile_gateway::pb::DESCRIPTOR_SET).unwrap();
    let profile = pool.get_message_by_name("profilegateway.v1.Profile").unwrap();
    for sample in registered() {
        let dialect = sample.dialect.to_uppercase().replace('-', "_");
        for capability in bench(sample).await.capabilities().await.fields {
            let mut message = profile.clone();
            let mut steps = capability.field.split('.').peekable();
            let field = loop {
                let field = message.get_field_by_name(steps.next().unwrap()).unwrap();
                if steps.peek().is_none() {
                    break field;
                }
                message = field.kind().as_message().unwrap().clone();
            };
            let noted = noted(&field);
            let says = noted.is_empty() || noted.contains(&dialect);
            let has = capability.support() != FieldSupport::NotSupported;
            assert_eq!(says, has, "{dialect} {}: the comment names {noted:?}", capability.field);
        }
    }
}

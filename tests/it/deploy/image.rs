//! The image: what its Dockerfile says, and the scripts that build and check it. That it builds and
//! runs is checked by `make image-check`, because it takes a release build.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use super::rendered::root;

fn dockerfile() -> String {
    // Continued lines are one.
    fs::read_to_string(root().join("Dockerfile")).unwrap().replace("\\\n", " ")
}

/// The instructions of a kind, without their name.
fn instructions<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(str::trim).collect()
}

#[test]
fn the_image_is_the_program_and_nothing_else() {
    let text = dockerfile();
    let bases = instructions(&text, "FROM");
    assert_eq!(bases, ["${RUST_IMAGE} AS build", "scratch"]);
    let arguments = instructions(&text, "ARG");
    let base = arguments.iter().find_map(|each| each.strip_prefix("RUST_IMAGE=")).unwrap();
    let (name, digest) = base.split_once("@sha256:").expect("a digest");
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let version = name.split_once("rust:").unwrap().1.split_once('-').unwrap().0;
    assert_eq!(version, env!("CARGO_PKG_RUST_VERSION"), "the oldest that builds it");
    assert_eq!(instructions(&text, "ENV"), [""; 0], "what is set there wins over files");
    assert_eq!(instructions(&text, "USER"), ["65532:65532"]);
}

#[test]
fn the_image_serves_and_is_probed_by_what_the_program_has() {
    let text = dockerfile();
    let health = instructions(&text, "HEALTHCHECK")[0];
    let address = health.split_once("\"--address\", \"").unwrap().1.split_once('"').unwrap().0;
    let port = address.split_once(':').unwrap().1;
    assert!(instructions(&text, "EXPOSE")[0].contains(port), "{port} is not exposed");
    assert!(health.contains("profile-gateway\", \"health\""), "{health}");
    let entry = instructions(&text, "ENTRYPOINT")[0];
    let program = entry.trim_matches(['[', ']', '"']);
    assert!(text.contains(&format!("scripts/static /image{program}\n")), "{program} is not built");
    assert!(health.contains(program), "{health}");
}

/// A folder with these programs, and those that the scripts need of the system.
fn found(programs: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for name in ["bash", "dirname", "sed", "git", "cat"] {
        let of_the_system = ["/usr/bin", "/bin"].map(|each| Path::new(each).join(name));
        let path = of_the_system.into_iter().find(|path| path.exists()).unwrap();
        symlink(path, directory.path().join(name)).unwrap();
    }
    for (name, script) in programs {
        let path = directory.path().join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

fn run(script: &str, arguments: &[&str], programs: &[(&str, &str)]) -> (Option<i32>, String) {
    let found = found(programs);
    let script: PathBuf = root().join("scripts").join(script);
    let mut command = Command::new(found.path().join("bash"));
    command.arg(script).args(arguments).env("PATH", found.path()).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (status.code(), said.concat())
}

#[test]
fn the_first_builder_that_works_builds_the_image() {
    const WORKS: &str = "[ \"$1\" = info ] || echo \"$0 $*\"";
    const FAILS: &str = "exit 1";
    for (docker, podman, buildah, wanted) in [
        (Some(WORKS), Some(WORKS), Some(WORKS), Some("docker")),
        // Its daemon is not there.
        (Some(FAILS), Some(WORKS), Some(WORKS), Some("podman")),
        (Some(FAILS), None, Some(WORKS), Some("buildah")),
        (None, Some(FAILS), Some(WORKS), Some("buildah")),
        (Some(FAILS), Some(FAILS), None, None),
        (None, None, None, None),
    ] {
        let programs = [("docker", docker), ("podman", podman), ("buildah", buildah)];
        let programs: Vec<_> =
            programs.into_iter().filter_map(|(name, script)| Some((name, script?))).collect();
        let (code, said) = run("image", &["gateway:1", "--pull"], &programs);
        let Some(wanted) = wanted else {
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("neither docker nor podman nor buildah works here"), "{said}");
            continue;
        };
        assert_eq!(code, Some(0), "{said}");
        let version = format!("VERSION={}", env!("CARGO_PKG_VERSION"));
        let built = format!("/{wanted} build ");
        for expected in [built.as_str(), &version, "--tag gateway:1 --pull ."] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        // Without it, podman and buildah leave the HEALTHCHECK out.
        assert_eq!(said.contains("--format docker"), wanted != "docker", "{said}");
    }
}

#[test]
fn what_the_check_of_the_image_needs_is_said() {
    let (code, said) = run("image-check", &[], &[("id", "echo 0"), ("jq", "")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("not here: buildah, mmdebstrap, "), "{said}");
    assert!(!said.contains("jq,") && !said.contains("root,"), "{said}");
    let (code, said) = run("image-check", &[], &[("id", "echo 1000")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("root, to make a base image"), "{said}");
}

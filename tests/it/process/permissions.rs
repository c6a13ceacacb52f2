//! Files that others on the machine can read or change, and what they could learn of the process.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use serde_json::Value;

use super::child::{File, file, run, sft, started, unprivileged};

const SECRET: &str = "hunter2-permissions";

fn allow(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A configuration with this mode, which names a secret that is in a file with that one.
fn with_modes(config: u32, secret: u32, lines: &str) -> (File, File) {
    let of_secret = file(SECRET);
    allow(&of_secret.path, secret);
    let text = sft("http://127.0.0.1:9", "ops", "x");
    let reference = format!("{{ file = {:?} }}", of_secret.path);
    let of_config = file(&format!("{lines}{}", text.replace("\"x\"", &reference)));
    allow(&of_config.path, config);
    (of_config, of_secret)
}

async fn warnings(config: &File) -> Vec<String> {
    let checked = run(&["check", "--json", "--config", &config.path], &[]).await;
    assert_eq!(checked.code(), Some(0), "{}", checked.output());
    assert!(!checked.output().contains(SECRET), "{}", checked.output());
    let shown: Value = serde_json::from_str(&checked.stdout).unwrap();
    let warnings = shown["warnings"].as_array().unwrap().iter();
    let all = warnings.map(|warning| warning.as_str().unwrap().to_owned());
    all.filter(|warning| warning.contains("everyone on this machine")).collect()
}

#[tokio::test]
async fn a_secret_that_all_can_change_is_a_warning_or_an_error() {
    let (config, secret) = with_modes(0o644, 0o646, "");
    let told = warnings(&config).await;
    let [warning] = &told[..] else { panic!("not one warning: {told:?}") };
    assert!(warning.contains("`backends.sft.password`") && warning.contains(&secret.path));
    for fine in [0o600, 0o640, 0o644, 0o664] {
        assert!(warnings(&with_modes(0o644, fine, "").0).await.is_empty(), "{fine:o}");
    }
    let (config, _secret) = with_modes(0o644, 0o646, "strict_permissions = true\n");
    for command in ["check", "serve"] {
        let refused = run(&[command, "--config", &config.path], &[]).await;
        assert_eq!(refused.code(), Some(64), "{}", refused.output());
        let said = refused.stderr;
        assert!(said.contains(":6: `backends.sft.password` is read from"), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
    let (config, _secret) = with_modes(0o644, 0o644, "strict_permissions = true\n");
    assert!(warnings(&config).await.is_empty());
}

#[tokio::test]
async fn a_configuration_with_a_secret_that_all_can_read_is_a_warning_or_an_error() {
    let text = sft("http://127.0.0.1:9", "ops", SECRET);
    let config = file(&text);
    for (mode, told) in [(0o644, 1), (0o604, 1), (0o600, 0), (0o640, 0)] {
        allow(&config.path, mode);
        let warnings = warnings(&config).await;
        assert_eq!(warnings.len(), told, "{mode:o} {warnings:?}");
        assert!(warnings.iter().all(|one| one.contains(":5: `backends.sft.password` is written")));
    }
    let strict = file(&format!("strict_permissions = true\n{text}"));
    allow(&strict.path, 0o644);
    let refused = run(&["serve", "--config", &strict.path], &[]).await;
    assert_eq!(refused.code(), Some(64), "{}", refused.output());
    assert!(refused.stderr.contains(":6: `backends.sft.password`"), "{}", refused.stderr);
    assert!(!refused.output().contains(SECRET));
    // The environment is the process's own.
    let (config, _secret) = with_modes(0o644, 0o600, "strict_permissions = true\n");
    let own = [("PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD", SECRET)];
    let checked = run(&["check", "--config", &config.path], &own).await;
    assert_eq!(checked.code(), Some(0), "{}", checked.output());
}

#[tokio::test]
async fn a_configuration_that_all_can_change_is_a_warning() {
    let (config, _secret) = with_modes(0o646, 0o600, "");
    let told = warnings(&config).await;
    let [warning] = &told[..] else { panic!("not one warning: {told:?}") };
    assert!(warning.contains("everyone on this machine can write the file"), "{warning}");
}

/// Such a process leaves no core file, and others of its user cannot look into its memory. The
/// system shows it by giving what it tells of the process to root.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_process_cannot_be_dumped() {
    let gateway = started(&[], |env| unprivileged(&[], env)).await;
    let about = fs::metadata(format!("/proc/{}/environ", gateway.program.pid())).unwrap();
    assert_eq!(about.uid(), 0);
}

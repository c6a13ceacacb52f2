//! A container of a manifest as a process of this machine: with its arguments, its variables, and
//! what is mounted, in a directory of its own.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::rendered::named;

/// What is mounted, and what the container is started with.
pub(super) struct Pod {
    directory: TempDir,
    /// Where its volumes are mounted, and where they are here.
    mounts: Vec<(String, PathBuf)>,
    pub arguments: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Pod {
    /// The first container of a Deployment or StatefulSet, with these files in its Secret.
    pub(super) fn of(
        resources: &[Value],
        workload: &Value,
        secret: &BTreeMap<&str, String>,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let spec = &workload["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let mounts = list(&container["volumeMounts"]).map(|mount| {
            let at = text(&mount["mountPath"]).to_owned();
            (at.clone(), directory.path().join(at.trim_start_matches('/')))
        });
        let mounts: Vec<_> = mounts.collect();
        let mut pod = Self { directory, mounts, arguments: Vec::new(), env: Vec::new() };
        for (mount, place) in list(&container["volumeMounts"]).zip(pod.mounts.clone()) {
            fs::create_dir_all(&place.1).unwrap();
            let volume = list(&spec["volumes"]).find(|volume| volume["name"] == mount["name"]);
            let Some(volume) = volume else { continue };
            if let Some(name) = volume["configMap"]["name"].as_str() {
                let data = named(resources, "ConfigMap", name)["data"].as_object().unwrap();
                data.iter().for_each(|(file, data)| pod.write(&place.1.join(file), text(data)));
            }
            if volume["secret"].is_object() {
                secret.iter().for_each(|(file, data)| pod.write(&place.1.join(file), data));
            }
        }
        pod.arguments = list(&container["args"]).map(|each| pod.here(text(each))).collect();
        let variable =
            |each: &Value| (text(&each["name"]).to_owned(), pod.here(text(&each["value"])));
        pod.env = list(&container["env"]).map(variable).collect();
        pod
    }

    /// Where a file of the container is here, wherever its path is in a text.
    pub(super) fn here(&self, text: &str) -> String {
        let to = |text: String, (at, here): &(String, PathBuf)| {
            let below = text.replace(&format!("{at}/"), &format!("{}/", here.display()));
            below.replace(&format!(" {at}\n"), &format!(" {}\n", here.display()))
        };
        self.mounts.iter().fold(text.to_owned(), to)
    }

    /// A file that belongs to none of its volumes.
    pub(super) fn own(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Everything that is written in its configuration and its variables.
    pub(super) fn said(&self) -> String {
        let files = self.mounts.iter().flat_map(|(_, here)| fs::read_dir(here).unwrap());
        let texts = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
        texts.chain(self.env.iter().map(|(_, value)| value.clone())).collect::<Vec<_>>().join("\n")
    }

    /// Writes what is mounted: nothing but its user and group can read it.
    fn write(&self, file: &Path, data: &str) {
        fs::write(file, self.here(data)).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o440)).unwrap();
    }
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[track_caller]
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string"))
}

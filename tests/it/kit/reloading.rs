//! A gateway whose configuration is in files that change while it runs.

use std::{fs, path::PathBuf};

use profile_gateway::{
    app::{App, ReloadRequests},
    config::Inputs,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    gateway::{Builder, Gateway},
    until,
};

/// Such a gateway, and its files.
pub struct Reloading {
    pub gateway: Gateway,
    files: Files,
    requests: ReloadRequests,
}

/// A directory with files.
pub struct Files(TempDir);

const CONFIG: &str = "gateway.toml";

impl Files {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A file of this directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in its place at once, as tools do that know that someone reads it.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.path("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// What names a file as a secret.
    pub fn secret(&self, name: &str) -> String {
        format!("{{ file = {:?} }}", self.path(name))
    }
}

/// Starts it with this configuration. It looks at its files only when it is asked to.
pub async fn reloading(files: Files, config: Builder) -> Reloading {
    start(files, &(config.section("[reload]\ninterval = \"off\"\n").text())).await
}

/// Starts it with exactly this text.
pub async fn start(files: Files, config: &str) -> Reloading {
    files.put(CONFIG, config);
    let inputs = Inputs::new(Some(files.path(CONFIG)), None);
    let requests = ReloadRequests::default();
    let app = App::start(inputs.read().unwrap()).await.unwrap();
    let gateway = Gateway::running(app.reloading(inputs, requests.clone()));
    Reloading { gateway, files, requests }
}

impl Reloading {
    /// The files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Changes the configuration, and has it reloaded. Returns how that ended.
    pub async fn change(&self, config: Builder) -> Value {
        self.change_to(&config.section("[reload]\ninterval = \"off\"\n").text()).await
    }

    /// The same with exactly this text.
    pub async fn change_to(&self, config: &str) -> Value {
        self.files.put(CONFIG, config);
        self.reload().await
    }

    /// Has all files read again. Returns how that ended.
    pub async fn reload(&self) -> Value {
        let before = self.latest().await;
        self.requests.ask();
        self.next(&before).await
    }

    /// How the next reload ends that was not the latest before.
    pub async fn next(&self, before: &Value) -> Value {
        until("a reload", async || self.latest().await["latest"] != before["latest"]).await;
        self.latest().await
    }

    /// How the latest reload ended.
    pub async fn latest(&self) -> Value {
        serde_json::from_str(&self.gateway.admin("/reload").await).unwrap()
    }

    /// How it ended in one word, and which keys have changed.
    pub async fn outcome(&self) -> (String, Vec<String>) {
        let latest = self.latest().await;
        let latest = &latest["latest"];
        let changed = latest["changed"].as_array().unwrap().iter();
        let changed = changed.map(|key| key.as_str().unwrap().to_owned()).collect();
        (latest["outcome"].as_str().unwrap().to_owned(), changed)
    }
}

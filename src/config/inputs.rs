//! Where a configuration is read from, so that it can be read again.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use futures_util::future::Either;

use super::{ConfigErrors, listen_on, load_file_with, load_from, read::Context, types::Config};
use crate::dialect::REGISTRY;

/// A file, if there is one, and the environment of the process.
#[derive(Debug, Clone)]
pub struct Inputs {
    path: Option<PathBuf>,
    listen: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum Unusable {
    /// The file cannot be read.
    Unread(PathBuf, io::Error),
    /// What is written there is wrong.
    Wrong(ConfigErrors),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Wrong(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for Unusable {}

impl Inputs {
    /// The file at `path`, and the environment. `listen` is the address that a flag says, whatever
    /// they have.
    #[must_use]
    pub fn new(path: Option<PathBuf>, listen: Option<String>) -> Self {
        Self { path, listen }
    }

    /// The configuration as it is there now. It waits for the disk.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or with every mistake in the configuration.
    pub fn read(&self) -> Result<Config, Unusable> {
        self.read_with(Context::default())
    }

    fn read_with(&self, context: Context<'_>) -> Result<Config, Unusable> {
        // A variable that is not UTF-8 cannot be one of ours.
        let mut env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if let Some(address) = &self.listen {
            listen_on(&mut env, address.clone());
        }
        let Some(path) = &self.path else {
            return load_from(None, context, &env, REGISTRY).map_err(Unusable::Wrong);
        };
        load_file_with(path, &env, context).map_err(|error| match error {
            Either::Left(error) => Unusable::Unread(path.clone(), error),
            Either::Right(errors) => Unusable::Wrong(errors),
        })
    }

    /// The same, of a file that was read before. A pipe gives its text only once. The certificate
    /// that is `in_force` may have expired since, as long as there is no other one.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and when it is not a regular file.
    pub fn read_again(&self, in_force: &Config) -> Result<Config, Unusable> {
        if let Some(path) = self.path.as_ref() {
            is_regular(path).map_err(|error| Unusable::Unread(path.clone(), error))?;
        }
        self.read_with(Context { certificate: in_force.tls.cert.as_ref(), ..Context::default() })
    }
}

fn is_regular(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => {
            let why = "it is not a regular file, so it cannot be read a second time";
            Err(io::Error::new(io::ErrorKind::InvalidInput, why))
        }
    }
}

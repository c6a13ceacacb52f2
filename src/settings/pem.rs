//! Certificates, revocation lists and private keys, which are in PEM files that keys of the
//! configuration name.
//!
//! No message of this module holds any part of a key.

use std::{fmt, sync::Arc};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{Error as PemError, PemObject},
};
use serde_json::Value as Json;

use super::{
    error::quoted,
    kind::Kind,
    node::{Env, Node},
    secret::read_bounded,
    value::{self, Read},
};

const MAX_PATH: usize = 4096;
/// The roots of a system are a fifth of this.
const MAX_CERTIFICATES: usize = 1024 * 1024;
/// All that a large authority has ever revoked.
const MAX_LISTS: usize = 32 * 1024 * 1024;
const MAX_KEY: usize = 64 * 1024;

/// The certificates of a file, in its order; at least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    /// Where they were read.
    pub path: String,
    /// What was read.
    pub der: Vec<CertificateDer<'static>>,
}

/// The revocation lists (CRL) of a file, in its order; at least one.
#[derive(Clone, PartialEq, Eq)]
pub struct RevocationLists {
    /// Where they were read.
    pub path: String,
    /// What was read.
    pub der: Vec<CertificateRevocationListDer<'static>>,
}

/// The private key of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    /// Where it was read.
    pub path: String,
    /// What was read.
    pub der: Arc<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.path).finish()
    }
}

impl fmt::Debug for RevocationLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RevocationLists").field(&self.path).finish()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.path).finish()
    }
}

/// The path of a file with certificates.
pub(crate) fn certificates() -> impl Kind<Value = Certificates> {
    CertificateFile
}

/// The path of a file with revocation lists.
pub(crate) fn revocation_lists() -> impl Kind<Value = RevocationLists> {
    ListFile
}

/// The path of a file with a private key.
pub(crate) fn private_key() -> impl Kind<Value = PrivateKey> {
    KeyFile
}

struct CertificateFile;

impl Kind for CertificateFile {
    type Value = Certificates;

    fn read(&self, node: &Node, _: &Env) -> Read<Certificates> {
        let path = value::text(node, MAX_PATH)?;
        let der = all(path, MAX_CERTIFICATES, "certificate", "CERTIFICATE")?;
        Ok(Certificates { path: path.to_owned(), der })
    }

    fn show(&self, value: &Certificates) -> Json {
        value.path.as_str().into()
    }

    fn form(&self) -> &'static str {
        "file"
    }

    fn bounds(&self) -> String {
        "certificates as PEM, up to 1 MiB".to_owned()
    }

    fn trusted_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        value::text(node, MAX_PATH).ok()
    }

    fn same(&self, one: &Certificates, other: &Certificates) -> bool {
        one == other
    }
}

struct ListFile;

impl Kind for ListFile {
    type Value = RevocationLists;

    fn read(&self, node: &Node, _: &Env) -> Read<RevocationLists> {
        let path = value::text(node, MAX_PATH)?;
        let der = all(path, MAX_LISTS, "revocation list", "X509 CRL")?;
        Ok(RevocationLists { path: path.to_owned(), der })
    }

    fn show(&self, value: &RevocationLists) -> Json {
        value.path.as_str().into()
    }

    fn same(&self, one: &RevocationLists, other: &RevocationLists) -> bool {
        one == other
    }

    fn form(&self) -> &'static str {
        "file"
    }

    fn bounds(&self) -> String {
        "revocation lists as PEM, up to 32 MiB".to_owned()
    }

    fn trusted_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        value::text(node, MAX_PATH).ok()
    }
}

/// All of a kind that a file has, which has to be one at least.
fn all<T: PemObject>(path: &str, most: usize, what: &str, label: &str) -> Read<Vec<T>> {
    let shown = quoted(path);
    let wrong = |why: &str| format!("cannot be read from the file {shown}: {why}");
    let text = read_bounded(path, most).map_err(|why| wrong(&why))?;
    let read: Result<Vec<T>, PemError> = T::pem_slice_iter(&text).collect();
    let found = read.map_err(|error| wrong(unparsable(&error)))?;
    if found.is_empty() {
        let expected = format!("it has no {what}, which begins with `-----BEGIN {label}-----`");
        return Err(wrong(&expected));
    }
    Ok(found)
}

/// Why a file is not PEM. The parser's own error may hold a part of it.
fn unparsable(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "it is not valid PEM: a section does not end",
        PemError::IllegalSectionStart { .. } => {
            "it is not valid PEM: a section does not begin as it should"
        }
        PemError::Base64Decode(_) => "it is not valid PEM: a section is not base64",
        _ => "it is not valid PEM",
    }
}

struct KeyFile;

impl Kind for KeyFile {
    type Value = PrivateKey;

    fn read(&self, node: &Node, _: &Env) -> Read<PrivateKey> {
        let path = value::text(node, MAX_PATH)?;
        let shown = quoted(path);
        let wrong = |why: &str| format!("cannot be read from the file {shown}: {why}");
        let text = read_bounded(path, MAX_KEY).map_err(|why| wrong(&why))?;
        // The parser's own error may hold a part of the file.
        let der = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            wrong(
                "it has no private key as PEM, which begins with `-----BEGIN PRIVATE KEY-----` \
                 (or `EC` or `RSA` before `PRIVATE`) and is not encrypted",
            )
        })?;
        Ok(PrivateKey { path: path.to_owned(), der: Arc::new(der) })
    }

    fn show(&self, value: &PrivateKey) -> Json {
        value.path.as_str().into()
    }

    fn form(&self) -> &'static str {
        "file"
    }

    fn bounds(&self) -> String {
        "one private key as PEM, up to 64 KiB".to_owned()
    }

    fn same(&self, one: &PrivateKey, other: &PrivateKey) -> bool {
        one == other
    }

    fn secret_file<'n>(&self, node: &'n Node) -> Option<&'n str> {
        value::text(node, MAX_PATH).ok()
    }
}

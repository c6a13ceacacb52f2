//! What can be configured of the store that replicas share: `[store]` with `kind = "shared"`.

mod address;
mod tls;

use std::{ops::RangeInclusive, time::Duration};

use secrecy::SecretString;

pub use self::{
    address::{Address, Endpoint, Sentinels},
    tls::SharedTlsSettings,
};
use crate::settings::{
    ChangedKeys, Kind, Section, Settings as _, bounds::seconds, count, duration, one_of,
    plain_text, secret, settings,
};

/// A replica that is cut off is waited for so long, and every replica renews its lease within half
/// a second, which has to have room in the shortest one.
const LEASE: RangeInclusive<Duration> = seconds(2)..=seconds(30);

/// More replicas of one primary are not found in practice, and `WAIT` is answered by the slowest.
const MAX_DURABLE_REPLICAS: u8 = 8;

/// What Redis can be configured to have at most.
const MAX_DATABASE: u16 = 16_383;

const DEFAULT_NAMESPACE: &str = "default";

const ALONE: &str = "is `write_alone`: while the server is away, each replica writes without the \
    others knowing, so that a write can be sent twice, and changes can be lost; it is for an \
    installation of a single replica";

settings! {
    /// The Redis or Valkey that the replicas of the gateway share.
    #[derive(Debug, Clone)]
    pub struct SharedSettings {
        /// Where the Redis or Valkey is that replicas share: `redis://host:6379`, `rediss://` for
        /// TLS, or `unix:/run/redis.sock`. Not with `sentinels`.
        url: Option<Endpoint> = None, address::endpoint().optional();
        /// The Sentinels that know which server is the primary, with commas between them:
        /// `redis://host:26379`, or `rediss://` for TLS with them and with the servers.
        sentinels: Option<Sentinels> = None, address::sentinels().optional();
        /// Name of the primary at the Sentinels.
        master: Option<String> = None, word("letters, digits, `.`, `_`, `-`").optional();
        /// Name of the gateway at the server, if it is not the default user.
        user: Option<String> = None, word("letters, digits, `.`, `_`, `-`").optional();
        /// Password of the gateway at the server.
        password: Option<SecretString> = None, secret(1).optional();
        /// Name of the gateway at the Sentinels, if it is not the default user.
        sentinel_user: Option<String> = None, word("letters, digits, `.`, `_`, `-`").optional();
        /// Password of the gateway at the Sentinels.
        sentinel_password: Option<SecretString> = None, secret(1).optional();
        /// Number of the database at the server.
        database: u16 = 0, count(0..=MAX_DATABASE);
        /// Name of this installation. Replicas that have the same one, and only they, share what
        /// they know.
        namespace: String = DEFAULT_NAMESPACE.to_owned(), word("letters, digits, `.`, `_`, `-`");
        /// How long a replica may answer from its memory after it has last heard that it knows of
        /// all writes. A write waits for a replica that was cut off so long, once.
        lease: Duration = seconds(2), duration(LEASE);
        /// Whose memory a write has left when it is answered: that of all replicas (`everywhere`),
        /// or only of the one that answers (`here`), and then others may show the old value for up
        /// to `lease`.
        acknowledge: Acknowledge = Acknowledge::Everywhere, one_of(ACKNOWLEDGE);
        /// How many replicas of the server have to have the record of a write before it is sent.
        durable_replicas: u8 = 0, count(0..=MAX_DURABLE_REPLICAS);
        /// What is done with writes while the store cannot be reached: they are refused
        /// (`refuse_writes`), or sent without the others knowing (`write_alone`), which is for an
        /// installation that has a single replica.
        when_unreachable: WhenUnreachable = WhenUnreachable::RefuseWrites,
            one_of(WHEN_UNREACHABLE);
        ..tls in "tls": SharedTlsSettings, "How TLS to the server and the Sentinels is set up.";
    }
    check fits_together;
}

/// Whose memory a write has left when it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// That of all replicas.
    Everywhere,
    /// That of the replica that answers.
    Here,
}

const ACKNOWLEDGE: &[(&str, Acknowledge)] =
    &[("everywhere", Acknowledge::Everywhere), ("here", Acknowledge::Here)];

/// What is done with writes while the store cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnreachable {
    /// They are refused.
    RefuseWrites,
    /// They are sent without other replicas knowing.
    WriteAlone,
}

const WHEN_UNREACHABLE: &[(&str, WhenUnreachable)] = &[
    ("refuse_writes", WhenUnreachable::RefuseWrites),
    ("write_alone", WhenUnreachable::WriteAlone),
];

impl PartialEq for SharedSettings {
    fn eq(&self, other: &Self) -> bool {
        let mut keys = ChangedKeys::default();
        self.compare(other, &mut keys);
        keys.into_keys().is_empty()
    }
}

impl Eq for SharedSettings {}

impl SharedSettings {
    /// Whether a key of the section can change while the process runs: what connections are opened
    /// with, from the next ones on.
    #[must_use]
    pub fn is_live(key: &str) -> bool {
        ["user", "password", "sentinel_user", "sentinel_password"].contains(&key)
            || key.starts_with("tls.")
    }

    /// Whether this installation has no name of its own.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.namespace == DEFAULT_NAMESPACE
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        let sentinels = self.sentinels.as_ref().is_some_and(Sentinels::is_encrypted);
        sentinels || self.url.as_ref().is_some_and(|url| url.encrypted)
    }
}

/// A name without spaces and what has a meaning in keys.
fn word(bounds: &'static str) -> impl Kind<Value = String> {
    plain_text(128).checked(bounds, |word: &String| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match word.chars().all(fits) {
            true => Ok(()),
            false => Err("must be letters, digits, `.`, `_` or `-`".to_owned()),
        }
    })
}

fn fits_together(settings: &SharedSettings, section: &mut Section<'_>) {
    let has_sentinels = settings.sentinels.is_some();
    match (&settings.url, has_sentinels) {
        (None, false) => section.conflict(
            ["url", "sentinels"],
            "the shared store has no place: write `url = \"redis://host:6379\"`, or `sentinels` \
             and `master`",
        ),
        (Some(_), true) => section.conflict(
            ["sentinels", "url"],
            "the Sentinels say where the server is, keep `sentinels` or `url`",
        ),
        _ => {}
    }
    for (key, is_set) in [
        ("master", settings.master.is_some()),
        ("sentinel_user", settings.sentinel_user.is_some()),
        ("sentinel_password", settings.sentinel_password.is_some()),
    ] {
        if is_set && !has_sentinels {
            section.conflict([key, "sentinels"], format!("{} needs `sentinels`", quoted(key)));
        }
    }
    if has_sentinels && settings.master.is_none() {
        section.conflict(
            ["sentinels", "master"],
            "`sentinels` needs `master`, the name that they know the primary by",
        );
    }
    users_have_passwords(settings, section);
    if settings.when_unreachable == WhenUnreachable::WriteAlone {
        section.caution("when_unreachable", ALONE);
    }
    if !settings.is_encrypted() && settings.tls != SharedTlsSettings::default() {
        section.conflict(
            ["tls", "url", "sentinels"],
            "`tls` is not used without TLS: write `rediss://` in `url` or `sentinels`",
        );
    }
}

fn users_have_passwords(settings: &SharedSettings, section: &mut Section<'_>) {
    let SharedSettings { user, password, sentinel_user, sentinel_password, .. } = settings;
    for (keys, user, password) in [
        (["user", "password"], user, password),
        (["sentinel_user", "sentinel_password"], sentinel_user, sentinel_password),
    ] {
        if user.is_some() && password.is_none() {
            section.conflict(keys, format!("{} needs {}", quoted(keys[0]), quoted(keys[1])));
        }
    }
}

fn quoted(key: &str) -> String {
    format!("`{key}`")
}

#[cfg(test)]
mod tests;

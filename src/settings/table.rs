//! The table of a room's keys, and one row of it as the reference shows it.

use serde_json::{Map, Value as Json};

use super::{changed::ChangedKeys, kind::Kind, section::Section};

/// The settings of a room, or of a part of one. [`settings!`] implements it.
pub(crate) trait Settings: Sized {
    /// Every value at its default.
    fn defaults() -> Self;

    /// Takes the keys of the table out of a section. What is wrong is reported there, and then the
    /// result must not be used.
    fn read(section: &mut Section<'_>) -> Self;

    /// Notes the keys that have another value in `new`.
    fn compare(&self, new: &Self, keys: &mut ChangedKeys);

    /// Adds every value in force, with secrets redacted.
    fn show(&self, to: &mut Map<String, Json>);

    /// The rows of the table, for the reference.
    fn rows() -> Vec<Row>;
}

/// Reads settings that have a section to themselves.
pub(crate) fn whole<S: Settings>(mut section: Section<'_>) -> S {
    let settings = S::read(&mut section);
    section.finish();
    settings
}

/// Every value in force of settings that have a section to themselves, with secrets redacted.
pub(crate) fn shown(settings: &impl Settings) -> Json {
    let mut shown = Map::new();
    settings.show(&mut shown);
    Json::Object(shown)
}

/// One key as the reference shows it.
pub(crate) struct Row {
    pub(crate) key: &'static str,
    /// What the key is for: the first paragraph of its documentation, on one line.
    pub(crate) meaning: String,
    /// What is written: a duration, a size, a string.
    pub(crate) form: &'static str,
    pub(crate) default: String,
    pub(crate) bounds: String,
    pub(crate) secret: bool,
}

impl Row {
    pub(crate) fn new<K: Kind>(
        key: &'static str,
        docs: &[&str],
        kind: &K,
        default: &K::Value,
    ) -> Self {
        let paragraph = docs.iter().map(|line| line.trim()).take_while(|line| !line.is_empty());
        Self {
            key,
            meaning: paragraph.collect::<Vec<_>>().join(" "),
            form: kind.form(),
            default: kind.default_text(default),
            bounds: kind.bounds(),
            secret: kind.is_secret(),
        }
    }
}

/// Declares the settings of a room: for each key its documentation, its field, its type, its
/// default and its [`Kind`].
///
/// ```ignore
/// settings! {
///     /// How the cache behaves.
///     #[derive(Debug, Clone)]
///     pub struct CacheSettings {
///         /// How long a profile stays fresh.
///         ttl: Duration = seconds(30), duration(Duration::ZERO..=hours(24));
///         // The key of the file, where the field is named otherwise.
///         interval as watch_interval: Duration = seconds(30), duration(TIMEOUT);
///         // Further keys of the same section, which have a table of their own.
///         ..circuit: Thresholds, "When to stop sending.";
///         // The keys of a section within this one.
///         ..tls in "tls": TlsSettings, "How connections are secured.";
///     }
///     // Optional: reports values that do not fit together.
///     check times_are_ordered;
/// }
/// ```
///
/// The first paragraph of a key's documentation is its text in the reference.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(as $key:ident)?: $type:ty = $default:expr, $kind:expr;
            )*
            $(..$group:ident $(in $child:literal)?: $group_type:ty, $group_doc:literal;)*
        }
        $(check $check:path;)?
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)*
            $(#[doc = $group_doc] pub $group: $group_type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $crate::settings::Settings::defaults()
            }
        }

        impl $crate::settings::Settings for $name {
            fn defaults() -> Self {
                Self {
                    $($field: $default,)*
                    $($group: $crate::settings::Settings::defaults(),)*
                }
            }

            fn read(section: &mut $crate::settings::Section<'_>) -> Self {
                let settings = Self {
                    $(
                        $field: section
                            .row($crate::settings::settings!(@key $field $($key)?), &$kind)
                            .unwrap_or_else(|| $default),
                    )*
                    $($group: $crate::settings::settings!(@read section $($child)?),)*
                };
                $($check(&settings, section);)?
                settings
            }

            fn compare(&self, new: &Self, keys: &mut $crate::settings::ChangedKeys) {
                $(
                    keys.value(
                        $crate::settings::settings!(@key $field $($key)?),
                        &$kind,
                        &self.$field,
                        &new.$field,
                    );
                )*
                $($crate::settings::settings!(
                    @compare (&self.$group) (&new.$group) keys $($child)?
                );)*
            }

            fn show(&self, to: &mut serde_json::Map<String, serde_json::Value>) {
                $(
                    to.insert(
                        $crate::settings::settings!(@key $field $($key)?).to_owned(),
                        $crate::settings::Kind::show(&$kind, &self.$field),
                    );
                )*
                $($crate::settings::settings!(@show (&self.$group) to $($child)?);)*
            }

            fn rows() -> Vec<$crate::settings::Row> {
                [
                    vec![$(
                        $crate::settings::Row::new(
                            $crate::settings::settings!(@key $field $($key)?),
                            &[$($doc),+],
                            &$kind,
                            &$default,
                        ),
                    )*],
                    $($crate::settings::settings!(@rows $group_type $(, $child)?),)*
                ]
                .into_iter()
                .flatten()
                .collect()
            }
        }
    };
    (@read $section:ident) => { $crate::settings::Settings::read($section) };
    (@read $section:ident $child:literal) => { $crate::settings::whole($section.child($child)) };
    (@compare ($old:expr) ($new:expr) $keys:ident) => {
        $crate::settings::Settings::compare($old, $new, $keys)
    };
    (@compare ($old:expr) ($new:expr) $keys:ident $child:literal) => {
        $keys.within($child, |keys| $crate::settings::Settings::compare($old, $new, keys))
    };
    (@show ($group:expr) $to:ident) => { $crate::settings::Settings::show($group, $to) };
    (@show ($group:expr) $to:ident $child:literal) => {
        $to.insert($child.to_owned(), $crate::settings::shown($group))
    };
    (@rows $group:ty) => { <$group as $crate::settings::Settings>::rows() };
    // In the reference, a section has a table of its own.
    (@rows $group:ty, $child:literal) => { Vec::new() };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:ident) => { stringify!($key) };
}

pub(crate) use settings;

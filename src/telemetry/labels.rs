//! Labels of metrics. Their values are bounded: names from the contract or the configuration, or
//! those of an enum; never text from a request.

use std::sync::Arc;

use prometheus_client::metrics::family::{Family, MetricConstructor};

/// The labels of a family of metrics. [`labels!`] implements it.
pub trait Labels {
    /// Each label with the values that it can have, where they are few.
    fn describe() -> Vec<(&'static str, &'static [&'static str])>;

    /// All that a backend can be counted under; nothing if one of the labels has values that only
    /// show when they are counted.
    fn every(backend: &Arc<str>) -> Vec<Self>
    where
        Self: Sized;
}

/// What a label can be.
pub trait LabelValue: Sized {
    /// All values, where they are few.
    const VALUES: &'static [&'static str] = &[];

    /// All of them as they are; nothing where they are many.
    #[must_use]
    fn all() -> Vec<Self> {
        Vec::new()
    }

    /// The same, of what is counted for a backend.
    #[must_use]
    fn every(_backend: &Arc<str>) -> Vec<Self> {
        Self::all()
    }
}

/// The name of a backend.
impl LabelValue for Arc<str> {
    fn every(backend: &Arc<str>) -> Vec<Self> {
        vec![Arc::clone(backend)]
    }
}

impl LabelValue for &'static str {}

/// Has all that a backend can be counted under exported from the start: an alert on an increase
/// misses the first one of a series that begins with it.
pub(crate) fn start<L, M, C>(family: &Family<L, M, C>, backend: &Arc<str>)
where
    L: Labels + Clone + Eq + std::hash::Hash,
    C: MetricConstructor<M>,
{
    for labels in L::every(backend) {
        drop(family.get_or_create(&labels));
    }
}

/// The same of what is counted for the process.
pub(crate) fn start_all<L, M, C>(family: &Family<L, M, C>)
where
    L: Labels + Clone + Eq + std::hash::Hash,
    C: MetricConstructor<M>,
{
    start(family, &"".into());
}

/// Declares the labels of a family of metrics.
macro_rules! labels {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($field_visibility:vis $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
        $visibility struct $name {
            $($field_visibility $field: $type,)+
        }

        impl $crate::telemetry::Labels for $name {
            fn describe() -> Vec<(&'static str, &'static [&'static str])> {
                vec![$((
                    stringify!($field),
                    <$type as $crate::telemetry::LabelValue>::VALUES,
                )),+]
            }

            fn every(backend: &std::sync::Arc<str>) -> Vec<Self> {
                $(let $field = <$type as $crate::telemetry::LabelValue>::every(backend);)+
                let number = 1 $(* $field.len())+;
                let nth = |mut n: usize| {
                    let mut digit = |base: usize| {
                        let digit = n % base;
                        n /= base;
                        digit
                    };
                    Some(Self { $($field: $field.get(digit($field.len()))?.clone(),)+ })
                };
                (0..number).filter_map(nth).collect()
            }
        }
    };
}

/// Declares an enum whose variants are the values of a label, each with its name.
macro_rules! label_values {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident {
        $($(#[$variant_attribute:meta])* $variant:ident = $value:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl $name {
            /// Its name in metrics.
            #[must_use]
            $visibility const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }

        $crate::telemetry::label_value!($name, [$($value),+], [$(Self::$variant),+]);
    };
}

/// Makes a type with a `name()` the value of a label.
macro_rules! label_value {
    ($name:ident, [$($value:expr),+], [$($each:expr),+]) => {
        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> std::fmt::Result {
                prometheus_client::encoding::EncodeLabelValue::encode(&self.name(), encoder)
            }
        }

        impl $crate::telemetry::LabelValue for $name {
            const VALUES: &'static [&'static str] = &[$($value),+];

            fn all() -> Vec<Self> {
                vec![$($each),+]
            }
        }
    };
}

pub(crate) use {label_value, label_values, labels};

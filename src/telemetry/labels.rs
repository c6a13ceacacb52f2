//! Labels of metrics. Their values are bounded: names from the contract or the configuration, or
//! those of an enum; never text from a request.

use std::sync::Arc;

/// The labels of a family of metrics. [`labels!`] implements it.
pub trait Labels {
    /// Each label with the values that it can have, where they are few.
    fn describe() -> Vec<(&'static str, &'static [&'static str])>;
}

/// What a label can be.
pub trait LabelValue {
    /// All values, where they are few.
    const VALUES: &'static [&'static str] = &[];
}

impl LabelValue for Arc<str> {}
impl LabelValue for &'static str {}

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

        $crate::telemetry::label_value!($name, [$($value),+]);
    };
}

/// Makes a type with a `name()` the value of a label.
macro_rules! label_value {
    ($name:ident, [$($value:expr),+]) => {
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
        }
    };
}

pub(crate) use {label_value, label_values, labels};

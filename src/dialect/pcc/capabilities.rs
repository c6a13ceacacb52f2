//! The name and capabilities of this dialect.

use crate::model::{
    capability::{Capabilities, Field},
    method::Method,
};

pub(super) const NAME: &str = "pcc";

/// The value of a field that a create leaves unset.
const UNDOCUMENTED: &str = "not documented";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    methods: &[
        Method::GetProfile,
        Method::ListProfiles,
        Method::CreateProfile,
        Method::UpdateProfile,
        Method::DeleteProfile,
    ],
    fields: &[
        Field::read_only("name"),
        Field::read_only("dialect"),
        Field::read_only("etag"),
        Field::read_only("unmapped"),
        Field::read_write("display_name").required(),
        Field::read_write("default_profile").required(),
        Field::read_write("payment_type")
            .allowing(&["PAYMENT_TYPE_PREPAID", "PAYMENT_TYPE_POSTPAID"])
            .defaulting(UNDOCUMENTED),
        Field::read_write("subscriber.initial_core_plan").defaulting(UNDOCUMENTED),
        Field::read_write("subscriber.subscriber_class").defaulting(UNDOCUMENTED),
        Field::read_write("subscriber.locale").defaulting(UNDOCUMENTED),
        Field::read_write("notifications.dps_enabled").defaulting(UNDOCUMENTED),
        Field::read_write("notifications.dps").defaulting(UNDOCUMENTED),
        Field::read_write("notifications.eos").defaulting(UNDOCUMENTED),
        Field::read_write("notifications.payg").defaulting(UNDOCUMENTED),
    ],
};

//! The name and capabilities of this dialect.

use crate::model::{
    capability::{Capabilities, Field},
    method::Method,
};

pub(super) const NAME: &str = "endpoint";

/// The value of a field that a create leaves unset.
pub(super) const UNDOCUMENTED: &str = "not documented";

/// The vendor's page on profiles marks `prepaid` so, which holds the payment type.
pub(super) const PREPAID: &str = "deprecated by the vendor";

/// The vendor's list of services says so of service 3.
pub(super) const VOICE: &str =
    "voice (service 3) can be attached, but has no effect: the vendor does not enable it";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    methods: &Method::ALL,
    fields: &[
        Field::read_only("name"),
        Field::read_only("dialect"),
        Field::read_only("etag"),
        Field::read_only("unmapped"),
        Field::read_only("endpoint_count"),
        Field::read_only("data_limits").noting("read only if the backend's data_limits is on"),
        Field::read_write("display_name").required(),
        Field::read_write("description"),
        Field::read_write("radio_access")
            .allowing(RADIO_ACCESS)
            .defaulting("2G and what the upstream enables"),
        Field::read_write("services").noting(VOICE),
        Field::read_write("payment_type")
            .allowing(&["PAYMENT_TYPE_PREPAID", "PAYMENT_TYPE_POSTPAID"])
            .defaulting("PAYMENT_TYPE_POSTPAID")
            .noting(PREPAID),
        Field::read_write("quotas.data").defaulting("false"),
        Field::read_write("quotas.sms").defaulting("false"),
        Field::read_write("retail").defaulting("false"),
        Field::read_write("sms.p2p_internal").defaulting("true"),
        Field::read_write("sms.p2p_external").defaulting("true"),
        Field::read_write("sms.esme_interface").defaulting(UNDOCUMENTED),
        Field::read_write("network.network_initiated_pdp").defaulting("false"),
        Field::read_write("network.breakout_region").defaulting(UNDOCUMENTED),
        Field::read_write("network.dns").defaulting(UNDOCUMENTED),
        Field::read_write("callbacks.api"),
        Field::read_write("callbacks.api_secret"),
        Field::read_write("callbacks.moc"),
    ],
};

/// Every combination that a profile can have.
const RADIO_ACCESS: &[&str] = &[
    "RADIO_ACCESS_2G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_4G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_2G+RADIO_ACCESS_4G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_2G+RADIO_ACCESS_NB_IOT_NTN",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_NB_IOT_NTN",
    "RADIO_ACCESS_2G+RADIO_ACCESS_4G+RADIO_ACCESS_NB_IOT_NTN",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G+RADIO_ACCESS_NB_IOT_NTN",
    "RADIO_ACCESS_2G+RADIO_ACCESS_NB_IOT+RADIO_ACCESS_NB_IOT_NTN",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_NB_IOT+RADIO_ACCESS_NB_IOT_NTN",
    "RADIO_ACCESS_2G+RADIO_ACCESS_4G+RADIO_ACCESS_NB_IOT+RADIO_ACCESS_NB_IOT_NTN",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G+RADIO_ACCESS_NB_IOT+RADIO_ACCESS_NB_IOT_NTN",
];

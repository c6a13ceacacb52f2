//! The custom data limits of profiles: a collection of its own, which reads look at only if the
//! backend says so, because each profile takes one more request.

use secrecy::ExposeSecret;

use super::{
    decode, encode,
    fault::{self, Operation},
};
use crate::{dialect::Settings, error::Result, pb::DataLimit, upstream::Port};

/// The setting, and the field of the profile.
pub(super) const KEY: &str = "data_limits";

/// Why a profile has no data limits where the setting is off.
pub(super) const NOT_READ: (&str, &str) = (
    KEY,
    "the gateway has not looked for custom data limits, which may cap the profile's cost: the \
     backend's data_limits is off",
);

/// Whether reads look at them.
pub(super) fn setting(settings: &Settings) -> bool {
    settings.get(KEY).is_some_and(|setting| setting.expose_secret() == "on")
}

/// The data limits of a profile that was just read. The upstream has one answer (403) for a profile
/// that is gone and for limits that the account may not see, and an installation without data
/// limits has another (404, 405, 410 or 501). So reading the profile again decides what it is.
pub(super) async fn read(port: &dyn Port, id: &str) -> Result<Vec<DataLimit>> {
    let reply = port.send(encode::data_limits(id)).await?;
    let error = match fault::read(Operation::DataLimits, &reply, decode::data_limits) {
        Err(error) if matches!(reply.status.as_u16(), 403 | 404 | 405 | 410 | 501) => error,
        limits => return limits,
    };
    let reply = port.send(encode::get(id)).await?;
    fault::read(Operation::Get, &reply, |reply| decode::one(reply, id))?;
    let message = format!(
        "{}: read the data limits of a profile; turn the backend's {KEY} off, or let the account \
         read them",
        error.message()
    );
    Err(error.with_message(message))
}

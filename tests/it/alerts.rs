//! Rules, alerts, and the dashboard of `deploy/`, held to what the gateway exports.

mod dashboard;
mod live;
mod queries;
mod rules;

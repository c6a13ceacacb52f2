//! The layers that a call passes through before it reaches its service, and what they share;
//! `stack` puts them in order.

pub(super) mod access;
mod arrivals;
pub(super) mod authenticate;
pub(super) mod body;
pub(super) mod catch;
pub(super) mod cut;
pub(super) mod deadline;
mod denials;
pub(super) mod grpc_only;
pub(super) mod grpc_web;
mod kept;
mod lasting;
mod media_type;
pub(super) mod metadata;
pub(super) mod methods;
pub(super) mod normalize;
pub(super) mod passing;
pub(super) mod refusals;
pub(super) mod reply;
pub(super) mod shed;
pub(super) mod weighed;
pub(super) mod whole;

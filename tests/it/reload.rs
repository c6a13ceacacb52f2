//! The configuration changes while the gateway runs.

mod backends;
mod callers;
mod certificates;
mod clients;
mod connections;
mod files;
mod issuers;
mod leaving;
mod levers;
mod load;
mod quotas;
mod secrets;
mod secured;
mod streams;
mod under_way;

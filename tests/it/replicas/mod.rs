//! Several gateways, each a process of its own, that share one store (`kit::replicas`).

mod account;
mod alone;
mod balanced;
mod caches;
mod doubts;
mod figures;
mod history;
mod operated;
mod pauses;
mod permits;
mod processes;
mod rolling;
mod soak;
mod streams;
mod table;
mod writes;

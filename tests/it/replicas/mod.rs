//! Several gateways, each a process of its own, that share one store (`kit::replicas`).

mod account;
mod caches;
mod operated;
mod processes;
mod streams;
mod table;
mod writes;

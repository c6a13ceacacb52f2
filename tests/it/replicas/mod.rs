//! Several gateways, each a process of its own, that share one store (`kit::replicas`).

mod caches;
mod processes;
mod streams;
mod writes;

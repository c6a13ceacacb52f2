//! Several gateways, each a process of its own, that share one store (`kit::replicas`).

mod processes;
mod writes;

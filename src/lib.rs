#![forbid(unsafe_code)]
pub mod error;
pub mod model;
pub mod pb;

//! What callers may ask of lists: filters, sort orders, page tokens and resume tokens. No IO.

mod access;
mod decimal;
mod fault;
mod field;
pub mod filter;
pub mod page;
pub mod resume;
mod seal;
mod settings;
pub mod sort;

pub use settings::PageSettings;

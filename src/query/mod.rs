//! What callers may ask of lists: filters, orders and page tokens. No IO.

mod access;
mod fault;
mod field;
pub mod filter;
pub mod order;
pub mod page;
pub mod resume;
mod seal;
mod settings;

pub use settings::PageTokenSettings;

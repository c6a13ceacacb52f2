//! What a caller may do, and that nothing is done and nothing is told of what it may not.

mod denials;
mod matrix;
mod mixed;
mod owned;
mod quotas;
mod rights;

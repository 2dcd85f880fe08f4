//! gate
pub mod served;

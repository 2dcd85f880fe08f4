//! require-where

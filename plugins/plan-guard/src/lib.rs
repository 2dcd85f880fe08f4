//! plan-guard

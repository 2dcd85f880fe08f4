//! rate-limit

//! honeytoken

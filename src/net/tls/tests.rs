//! Handshakes over memory, and what is read of certificates.

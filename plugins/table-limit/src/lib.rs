//! table-limit

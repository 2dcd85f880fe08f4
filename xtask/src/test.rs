//! `cargo xtask test`.

/// Runs it.
pub fn run(_arguments: &[String]) -> Result<(), String> {
    Err("this version has no `test` yet".to_string())
}

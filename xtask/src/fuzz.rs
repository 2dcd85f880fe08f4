//! `cargo xtask fuzz`.

/// Runs it.
pub fn run(_arguments: &[String]) -> Result<(), String> {
    Err("this version has no `fuzz` yet".to_string())
}

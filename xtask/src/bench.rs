//! `cargo xtask bench`.

/// Runs it.
pub fn run(_arguments: &[String]) -> Result<(), String> {
    Err("this version has no `bench` yet".to_string())
}

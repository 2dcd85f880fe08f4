//! `cargo xtask demo`.

/// Runs it.
pub fn run(_arguments: &[String]) -> Result<(), String> {
    Err("this version has no `demo` yet".to_string())
}

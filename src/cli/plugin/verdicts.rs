//! What native tests answered, case by case, for `plugin test` to compare with the component.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::model::Verdict;
use crate::policy::cases::verdict_json;

/// Names the file to which native tests append their verdicts, one a line.
pub(super) const VARIABLE: &str = "PORTCULLIS_VERDICTS";

/// Appends the verdict of one case, if somebody wants to know.
pub(super) fn write(title: &str, verdict: &Verdict) -> Result<(), String> {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return Ok(());
    };
    let line = format!("{}\n", json!([title, verdict_json(verdict)]));
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path);
    // One write: tests run side by side.
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Title and verdict of each case that was run.
pub(super) fn read(path: &Path) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

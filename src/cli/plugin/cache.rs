//! Where the tools keep what only saves time.

use std::path::PathBuf;

/// A folder below the user's cache; none where there is no home.
pub(in crate::cli) fn folder(name: &str) -> Option<PathBuf> {
    let absolute =
        |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let cache = std::env::var_os("XDG_CACHE_HOME").and_then(absolute);
    let home = || Some(std::env::var_os("HOME").and_then(absolute)?.join(".cache"));
    Some(cache.or_else(home)?.join("portcullis").join(name))
}

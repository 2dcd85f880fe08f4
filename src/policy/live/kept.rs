//! Components that have judged, the last few of each policy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::overrides::{seconds, write_whole};

/// Versions that are kept of one policy.
const VERSIONS: usize = 5;

/// A version that has judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// SHA-256 of the component, in hexadecimal.
    pub sha256: String,
    /// As its manifest says.
    pub version: String,
    /// When it judged first, in seconds since 1970.
    pub since: u64,
}

/// The folder of components, and which policy used which, oldest first.
#[derive(Debug, Default)]
pub struct Kept {
    folder: Option<PathBuf>,
    history: Mutex<BTreeMap<String, Vec<Entry>>>,
}

impl Kept {
    pub(super) fn open(state: Option<PathBuf>) -> Kept {
        let folder = state.map(|state| state.join("components"));
        let read = |folder: &PathBuf| std::fs::read(folder.join("history.json")).ok();
        let history = folder.as_ref().and_then(read);
        // It is a convenience: without it there is less to go back to.
        let history = history.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Kept {
            folder,
            history: Mutex::new(history.unwrap_or_default()),
        }
    }

    /// The last versions of a policy, oldest first.
    pub fn of(&self, policy: &str) -> Vec<Entry> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.get(policy).cloned().unwrap_or_default()
    }

    /// The file of a component that is whole.
    pub(super) fn find(&self, sha256: &str) -> Result<PathBuf, String> {
        let gone = || format!("the component {sha256} is not kept any more");
        let path = self.path(sha256).ok_or_else(gone)?;
        let bytes = std::fs::read(&path).map_err(|_| gone())?;
        if hexadecimal(&bytes) == sha256 {
            Ok(path)
        } else {
            Err(format!("{} has been changed", path.display()))
        }
    }

    /// Keeps what judges from now on. What nobody needs any more is removed.
    pub(in crate::policy) fn note(
        &self,
        policy: &str,
        version: &str,
        bytes: &[u8],
        now: SystemTime,
    ) -> std::io::Result<String> {
        let sha256 = hexadecimal(bytes);
        let Some(folder) = &self.folder else {
            return Ok(sha256);
        };
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = history.entry(policy.to_owned()).or_default();
        let path = folder.join(format!("{sha256}.wasm"));
        if versions.iter().any(|known| known.sha256 == sha256) && path.exists() {
            return Ok(sha256);
        }
        write_whole(&path, bytes)?;
        versions.retain(|known| known.sha256 != sha256);
        versions.push(Entry {
            sha256: sha256.clone(),
            version: version.to_owned(),
            since: seconds(now),
        });
        let many = versions.len().saturating_sub(VERSIONS);
        let gone: Vec<Entry> = versions.drain(..many).collect();
        for entry in gone {
            let used = |entries: &Vec<Entry>| entries.iter().any(|it| it.sha256 == entry.sha256);
            if !history.values().any(used) {
                let _ = std::fs::remove_file(folder.join(format!("{}.wasm", entry.sha256)));
            }
        }
        let text = serde_json::to_vec_pretty(&*history)?;
        write_whole(&folder.join("history.json"), &text)?;
        Ok(sha256)
    }

    fn path(&self, sha256: &str) -> Option<PathBuf> {
        let plain = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder: &Path = self.folder.as_deref().filter(|_| plain)?;
        Some(folder.join(format!("{sha256}.wasm")))
    }
}

/// SHA-256, as it is written.
fn hexadecimal(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_versions_stay_and_a_changed_one_is_not_used() {
        let state = tempfile::tempdir().unwrap();
        let kept = Kept::open(Some(state.path().to_path_buf()));
        let now = SystemTime::now();
        let hashes: Vec<String> = (0..7_u8)
            .map(|number| kept.note("p", &number.to_string(), &[number], now).unwrap())
            .collect();
        // Another policy uses the very first one.
        kept.note("q", "0", &[0], now).unwrap();
        let again = Kept::open(Some(state.path().to_path_buf()));
        let versions: Vec<String> = again.of("p").into_iter().map(|it| it.version).collect();
        assert_eq!(versions, ["2", "3", "4", "5", "6"]);
        assert!(again.find(&hashes[0]).is_ok());
        assert!(again.find(&hashes[1]).unwrap_err().contains("not kept"));
        std::fs::write(again.find(&hashes[6]).unwrap(), b"other").unwrap();
        assert!(again.find(&hashes[6]).unwrap_err().contains("changed"));
        assert!(again.find("../../etc/passwd").is_err());
    }
}

//! What differs from the file, by whose hand, and until when.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use crate::config::{Mode, Plugin, PolicyConfig};

/// The file in the state folder.
const FILE: &str = "overrides.json";

/// One policy's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Instead of the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "mode")]
    pub mode: Option<Mode>,
    /// The component that judges instead of the configured one: its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Who wanted it.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// When it ends, in seconds since 1970; none: when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    file: Option<PathBuf>,
    policies: BTreeMap<String, Override>,
}

impl Overrides {
    /// Those that were made before; none where there is no state folder.
    pub(super) fn read(state: Option<&Path>) -> Result<Overrides, String> {
        let Some(file) = state.map(|state| state.join(FILE)) else {
            return Ok(Overrides::default());
        };
        let policies = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|why| format!("{} cannot be understood: {why}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
        };
        let file = Some(file);
        Ok(Overrides { file, policies })
    }

    /// What is in the file now: another gate of the same folder may have changed it.
    pub(in crate::policy) fn read_again(&mut self) -> Result<(), String> {
        let state = self.file.as_deref().and_then(Path::parent);
        if state.is_some() {
            *self = Overrides::read(state)?;
        }
        Ok(())
    }

    /// Writes them where they were read; in one step, so that a crash leaves the
    /// old ones or the new ones. Without a folder there is nothing to write.
    pub(super) fn write(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let text = serde_json::to_vec_pretty(&self.policies)?;
        write_whole(file, &text)
    }

    /// Whether they outlive the process.
    pub fn are_kept(&self) -> bool {
        self.file.is_some()
    }

    /// The one of a policy, as long as it holds.
    pub fn get(&self, policy: &str, now: SystemTime) -> Option<&Override> {
        self.policies.get(policy).filter(|it| !it.is_over(now))
    }

    /// Those that hold.
    pub fn iter(&self, now: SystemTime) -> impl Iterator<Item = (&str, &Override)> {
        let all = self.policies.iter().filter(move |(_, it)| !it.is_over(now));
        all.map(|(name, it)| (&**name, it))
    }

    /// Changes the one of a policy; what says nothing any more is gone.
    pub(super) fn set(&mut self, policy: &str, new: Override) {
        if new.mode.is_none() && new.component.is_none() {
            self.policies.remove(policy);
        } else {
            self.policies.insert(policy.to_owned(), new);
        }
    }

    /// Takes the one of a policy back. False: there was none.
    pub(super) fn take_back(&mut self, policy: &str) -> bool {
        self.policies.remove(policy).is_some()
    }

    /// Forgets those that have ended; true when there were any.
    pub(super) fn sweep(&mut self, now: SystemTime) -> bool {
        let before = self.policies.len();
        self.policies.retain(|_, it| !it.is_over(now));
        self.policies.len() != before
    }

    /// Whether one has ended that is still there.
    pub(super) fn are_due(&self, now: SystemTime) -> bool {
        self.policies.values().any(|it| it.is_over(now))
    }

    /// The configured policies with what is overridden.
    pub(in crate::policy) fn apply(
        &self,
        policies: &[PolicyConfig],
        kept: &Kept,
        now: SystemTime,
    ) -> Result<Vec<PolicyConfig>, (String, String)> {
        let mut out = policies.to_vec();
        for policy in &mut out {
            let Some(it) = self.get(&policy.name, now) else {
                continue;
            };
            if let Some(mode) = it.mode {
                policy.mode = mode;
            }
            if let Some(hash) = &it.component {
                let path = kept
                    .find(hash)
                    .map_err(|why| (policy.name.to_string(), why))?;
                policy.plugin = Plugin::File(path);
            }
        }
        Ok(out)
    }
}

impl Override {
    fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| seconds(now) >= until)
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Writes a file in one step: for its owner alone, and on the disk when this returns.
pub(super) fn write_whole(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    // Gates that follow each other may write at the same time.
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut open = options.open(&new)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    std::fs::rename(&new, file)?;
    std::fs::File::open(folder)?.sync_all()
}

/// A mode as it is written in the configuration.
mod mode {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::config::Mode;

    pub(super) fn serialize<S: Serializer>(mode: &Option<Mode>, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_some(mode.map_or("", Mode::name))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Mode>, D::Error> {
        let text = String::deserialize(from)?;
        let known = Mode::from_name(&text);
        known.map(Some).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no mode: off, monitor or enforce"))
        })
    }
}

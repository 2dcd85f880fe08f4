//! What operators change on a running gate without touching the file: the mode
//! of a policy, the version that judges, a candidate that judges beside it.
//!
//! The file is the wish. What is done here is written to the state folder as
//! overrides, with who and when, survives restarts, and is shown until somebody
//! takes it back. Components that have judged are kept there too, so that there
//! is something to go back to.
//!
//! Deliberately not here: who may ask (`control`), and how it is shown.
//!
//! Read [`Overrides`] first, then the commands in [`command`].

mod command;
mod kept;
mod overrides;
mod shadow;
mod tally;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::load::LoadError;
use crate::config::Config;

pub use command::{Change, Line, LiveError};
pub use kept::{Entry, Kept};
pub use overrides::{Override, Overrides};
pub(super) use shadow::{Shadows, Twice};
pub use tally::{Difference, Report};

/// The part of the policies that operators change.
#[derive(Debug, Default)]
pub(super) struct Live {
    overrides: Mutex<Overrides>,
    pub(super) kept: Kept,
    pub(super) shadows: Shadows,
}

impl Live {
    /// Reads what earlier commands have left.
    pub(super) fn open(config: &Config) -> Result<Live, LoadError> {
        let state = config.state_dir.as_deref();
        let broken = |why: String| LoadError {
            hint: "correct the file, or remove it: then the configuration alone counts".to_owned(),
            ..LoadError::general(why)
        };
        Ok(Live {
            overrides: Mutex::new(Overrides::read(state).map_err(broken)?),
            kept: Kept::open(state.map(Path::to_path_buf)),
            shadows: Shadows::default(),
        })
    }

    pub(super) fn overrides(&self) -> MutexGuard<'_, Overrides> {
        self.overrides
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

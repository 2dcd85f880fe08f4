//! The run folder: whose sockets are in it, and which gate is the current one.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rand::RngExt;

use super::Error;
use crate::config::UnixAddress;
use crate::model::ProcessId;
use crate::net::unix::{self, SocketFile};

/// Under this name the gate that serves is found.
const CURRENT: &str = "control.sock";

/// How often a number is drawn before giving up: most are free.
const DRAWS: usize = 64;

/// A run folder that can be trusted.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
}

/// A gate's own socket in it; the file goes with this value.
#[derive(Debug)]
pub struct Seat {
    place: Place,
    process: ProcessId,
    listener: Option<UnixListener>,
    /// None only for what has no file.
    _file: Option<SocketFile>,
}

impl Place {
    /// Makes the folder if it is not there. One that others can write to is
    /// refused: they could put a socket of their own in ours' place.
    pub fn make(folder: &Path) -> Result<Place, Error> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).map_err(|source| Error::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let place = Place::open(folder)?;
        if place.owner()? == own_user() {
            Ok(place)
        } else {
            Err(Error::Exposed(place.folder))
        }
    }

    /// A folder that is there already: what a program needs that asks.
    pub fn open(folder: &Path) -> Result<Place, Error> {
        let place = Place {
            folder: folder.to_owned(),
        };
        let about = place.about()?;
        // Root asks gates of other users too.
        let ours = about.uid() == own_user() || own_user() == 0;
        if !ours || about.mode() & 0o022 != 0 {
            return Err(Error::Exposed(place.folder));
        }
        Ok(place)
    }

    fn about(&self) -> Result<std::fs::Metadata, Error> {
        std::fs::metadata(&self.folder).map_err(|source| Error::Folder {
            folder: self.folder.clone(),
            source,
        })
    }

    fn owner(&self) -> Result<u32, Error> {
        Ok(self.about()?.uid())
    }

    /// The socket of the gate that serves.
    pub fn current(&self) -> PathBuf {
        self.folder.join(CURRENT)
    }

    /// The socket of this gate, if it is there.
    pub fn of(&self, process: ProcessId) -> PathBuf {
        self.folder.join(format!("gate-{process}.sock"))
    }

    /// The sockets of all gates, of dead ones too.
    pub fn all(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let sockets = names.filter(|name| name.starts_with("gate-") && name.ends_with(".sock"));
        let mut paths: Vec<PathBuf> = sockets.map(|name| self.folder.join(name)).collect();
        paths.sort();
        paths
    }

    /// Draws a number that no gate here has, and listens under it. Nobody finds
    /// the socket by its [current](Self::current) name yet.
    pub fn claim(&self) -> Result<Seat, Error> {
        for path in self.all() {
            unix::remove_stale(&path);
        }
        let mut last = io::ErrorKind::AddrInUse.into();
        let mut path = self.folder.clone();
        for _ in 0..DRAWS {
            let process = ProcessId::new(rand::rng().random());
            path = self.of(process);
            match unix::listen(&UnixAddress::Path(path.clone()), 0o600) {
                Ok((listener, file)) => {
                    return Ok(Seat {
                        place: self.clone(),
                        process,
                        listener: Some(listener),
                        _file: file,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(Error::Listen { path, source: last })
    }
}

impl Seat {
    /// The gate's number.
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// The folder it is in.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The socket, once.
    pub fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }

    /// From now on this is the gate that is found, in one step. A link that
    /// leads to a gate that is no more is left behind: it says that none is there.
    pub fn become_current(&self) -> Result<(), Error> {
        let path = self.place.current();
        let draft = self.place.folder.join(format!(".c{}", self.process));
        let target = format!("gate-{}.sock", self.process);
        let _ = std::fs::remove_file(&draft);
        std::os::unix::fs::symlink(target, &draft)
            .and_then(|()| std::fs::rename(&draft, &path))
            .map_err(|source| Error::Listen { path, source })
    }
}

/// The user this process acts as.
pub(super) fn own_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn gates_sit_side_by_side_and_the_last_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::make(&folder.path().join("a/run")).unwrap();
        let first = place.claim().unwrap();
        first.become_current().unwrap();
        let second = place.claim().unwrap();
        assert_ne!(first.process(), second.process());
        let leads_to = || std::fs::canonicalize(place.current()).unwrap();
        let real = |seat: &Seat| std::fs::canonicalize(place.of(seat.process())).unwrap();
        assert_eq!(leads_to(), real(&first));
        second.become_current().unwrap();
        assert_eq!(leads_to(), real(&second));
        drop(first);
        assert_eq!(leads_to(), real(&second));
        assert_eq!(place.all().len(), 1);
        let mode = std::fs::metadata(&place.all()[0]).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_a_dead_gate_left_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::make(&folder.path().join("run")).unwrap();
        let dead = place.of(ProcessId::new(5));
        drop(UnixListener::bind(&dead).unwrap());
        assert!(dead.exists());
        let text = place.folder.join("gate-note.sock");
        std::fs::write(&text, "not a socket").unwrap();
        let _seat = place.claim().unwrap();
        assert!(!dead.exists());
        assert!(text.exists());
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o770);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let refused = Place::make(folder.path()).unwrap_err();
        assert!(matches!(refused, Error::Exposed(_)), "{refused}");
        let refused = Place::open(folder.path()).unwrap_err();
        assert!(matches!(refused, Error::Exposed(_)), "{refused}");
    }
}

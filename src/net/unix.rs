//! Listening on Unix sockets: their files, and who is on the other end.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::UnixAddress;

/// The file of a socket that is listened on; it is removed when nobody listens
/// any more, unless somebody else has put another one in its place.
#[derive(Debug)]
pub struct SocketFile(Ownership);

/// Whose business it is to remove the file. Clones know the same.
#[derive(Debug, Clone)]
pub struct Ownership(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    path: PathBuf,
    /// Device and number, by which the file is known.
    identity: (u64, u64),
    /// Another process may be listening on the socket.
    left_alone: AtomicBool,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Owned {
            path, left_alone, ..
        } = &*self.0.0;
        if self.0.is_in_place() && !left_alone.load(Ordering::Acquire) {
            // What cannot be removed is found stale by the next one who listens.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile(Ownership(Arc::new(Owned {
            path: path.to_owned(),
            identity: identity(path)?,
            left_alone: AtomicBool::new(false),
        }))))
    }

    /// The file of a socket that another process listens on as well, and which
    /// stays that one's until [`own`](Self::own).
    pub(super) fn of_another(path: &Path) -> io::Result<SocketFile> {
        let file = SocketFile::at(path)?;
        file.0.leave_alone(true);
        Ok(file)
    }

    /// From now on the file is ours, and has these mode bits.
    pub(super) fn own(&self, mode: u32) {
        self.0.leave_alone(false);
        if self.0.is_in_place() {
            let mode = std::fs::Permissions::from_mode(mode);
            if let Err(error) = std::fs::set_permissions(&self.0.0.path, mode) {
                tracing::warn!(%error, path = %self.0.0.path.display(), "the socket keeps its mode bits");
            }
        }
    }

    pub(super) fn ownership(&self) -> Ownership {
        self.0.clone()
    }
}

impl Ownership {
    /// Whether the file is still the one it was.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.0.path).ok() == Some(self.0.identity)
    }

    /// Whether the file stays when we stop listening.
    pub(super) fn leave_alone(&self, alone: bool) {
        self.0.left_alone.store(alone, Ordering::Release);
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = std::fs::symlink_metadata(path)?;
    Ok((about.dev(), about.ino()))
}

/// Listens. What a dead process left is replaced; a living one, or a file that
/// is no socket, is an error.
pub fn listen(address: &UnixAddress, mode: u32) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let path = match address {
        UnixAddress::Abstract(name) => return Ok((abstract_listener(name)?, None)),
        UnixAddress::Path(path) => path,
    };
    if !is_free(path)? {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on this socket",
        ));
    }
    // Under another name first: nobody can connect before the mode bits are
    // right, and clients never meet a moment without a socket.
    let draft = draft(path);
    let _ = std::fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft)?;
    let placed = std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(mode))
        .and_then(|()| std::fs::rename(&draft, path));
    if let Err(error) = placed {
        let _ = std::fs::remove_file(&draft);
        return Err(error);
    }
    listener.set_nonblocking(true)?;
    Ok((listener, Some(SocketFile::at(path)?)))
}

/// Short, because a socket's path is.
fn draft(path: &Path) -> PathBuf {
    path.with_file_name(format!(".s{}", std::process::id()))
}

/// Whether nobody listens there.
fn is_free(path: &Path) -> io::Result<bool> {
    let about = match std::fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    if !about.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of this name that is not a socket",
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One who is too busy to answer is alive.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        _ => Ok(false),
    }
}

/// Removes what a dead process left: a socket that nobody listens on.
pub fn remove_stale(path: &Path) {
    let Ok(found) = identity(path) else { return };
    // The same file as before the look, so that nobody's new socket is removed.
    if is_free(path).is_ok_and(|free| free) && identity(path).is_ok_and(|now| now == found) {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(target_os = "linux")]
fn abstract_listener(name: &str) -> io::Result<UnixListener> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(not(target_os = "linux"))]
fn abstract_listener(_: &str) -> io::Result<UnixListener> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "abstract names exist on Linux only",
    ))
}

/// Name of the system's user with this number; none when it has no name. May
/// ask the network (LDAP), so it is asked off the event loop.
pub async fn user_name(number: u32) -> Option<String> {
    let asked = tokio::task::spawn_blocking(move || {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(number));
        user.ok().flatten().map(|user| user.name)
    });
    asked.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> UnixAddress {
        UnixAddress::Path(path.to_owned())
    }

    #[tokio::test]
    async fn a_socket_file_comes_with_its_mode_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.6432");
        let (listener, file) = listen(&at(&path), 0o640).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let taken = listen(&at(&path), 0o640).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop((listener, file));
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced_and_only_that() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "nobody listens, but the file is there");
        let (first, file) = listen(&at(&path), 0o600).unwrap();
        // Somebody else takes the place: it is not ours to remove.
        std::fs::remove_file(&path).unwrap();
        let (_second, _file) = listen(&at(&path), 0o600).unwrap();
        drop((first, file));
        assert!(path.exists());
        let text = folder.path().join("text");
        std::fs::write(&text, "precious").unwrap();
        let refused = listen(&at(&text), 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&text).unwrap(), "precious");
    }

    #[tokio::test]
    async fn numbers_of_users_have_names() {
        assert_eq!(user_name(0).await.as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 7).await, None);
    }
}

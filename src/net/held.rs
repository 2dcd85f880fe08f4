//! Listening sockets that the service manager holds for the gate (LISTEN_FDS of
//! systemd), or that came from the gate before: they live on while one process
//! follows another.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcp};
use std::os::unix::net::UnixListener as StdUnix;

use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use super::accept::{DOOR, Listener, Taken};
use super::passing::Passed;
use super::unix::SocketFile;
use crate::config::{Endpoint, UnixAddress};

/// Sockets that nobody listens to yet.
#[derive(Debug, Default)]
pub struct Held {
    tcp: Vec<StdTcp>,
    unix: Vec<StdUnix>,
    /// From the gate before; none: taken.
    passed: Vec<Option<Passed>>,
}

impl Held {
    /// As systemd says it in the environment, if it means this process.
    pub fn from_environment() -> Held {
        let mut held = Held::default();
        let mut passed = listenfd::ListenFd::from_env();
        for at in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(at) {
                held.tcp.push(listener);
            } else if let Ok(Some(listener)) = passed.take_unix_listener(at) {
                held.unix.push(listener);
            }
        }
        held
    }

    /// Adds what the gate before passed on.
    pub fn receive(&mut self, passed: Vec<Passed>) {
        self.passed = passed.into_iter().map(Some).collect();
    }

    /// Numbers of those that were taken, in the order in which they were passed.
    pub fn taken(&self) -> Vec<usize> {
        let passed = self.passed.iter().enumerate();
        let taken = passed.filter(|(_, passed)| passed.is_none());
        taken.map(|(at, _)| at).collect()
    }

    /// The socket for this address. Must be called inside a runtime.
    pub(super) fn take(&mut self, address: &Endpoint) -> Option<io::Result<Taken>> {
        if let Some(passed) = self.take_passed(DOOR, &address.to_string(), address) {
            return Some(door(passed, address));
        }
        let listener = self.take_held(address)?;
        Some(listener.map(|listener| (listener, address.clone(), None)))
    }

    /// A socket for this address that the gate before has used in another role.
    pub fn take_tcp(&mut self, role: &str, address: SocketAddr) -> Option<StdTcp> {
        let passed = self.take_passed(role, &address.to_string(), &Endpoint::Tcp(address))?;
        Some(StdTcp::from(passed.socket))
    }

    /// Only a socket that listens, and of the kind that is wanted.
    fn take_passed(&mut self, role: &str, name: &str, wanted: &Endpoint) -> Option<Passed> {
        let fits = |passed: &Option<Passed>| {
            let it = passed.as_ref().filter(|it| it.is(role, name));
            it.is_some_and(|it| is_listening(it, wanted))
        };
        let at = self.passed.iter().position(fits)?;
        self.passed[at].take()
    }

    fn take_held(&mut self, address: &Endpoint) -> Option<io::Result<Listener>> {
        match address {
            Endpoint::Tcp(address) => {
                let is = |held: &StdTcp| held.local_addr().is_ok_and(|local| local == *address);
                let at = self.tcp.iter().position(is)?;
                let listener = self.tcp.swap_remove(at);
                let listener = listener
                    .set_nonblocking(true)
                    .and_then(|()| TcpListener::from_std(listener));
                Some(listener.map(Listener::Tcp))
            }
            Endpoint::Unix { path, .. } => {
                let at = self.unix.iter().position(|held| is_at(held, path))?;
                let listener = self.unix.swap_remove(at);
                let listener = listener
                    .set_nonblocking(true)
                    .and_then(|()| UnixListener::from_std(listener));
                Some(listener.map(Listener::Unix))
            }
        }
    }

    /// Addresses of sockets that nobody took.
    pub fn left(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|held| held.local_addr().ok());
        let unix = self.unix.iter().filter_map(|held| held.local_addr().ok());
        let unix = unix.map(|address| format!("{address:?}"));
        tcp.map(|address| address.to_string()).chain(unix).collect()
    }
}

fn is_listening(passed: &Passed, wanted: &Endpoint) -> bool {
    let socket = SockRef::from(&passed.socket);
    let fits = socket.local_addr().is_ok_and(|bound| match wanted {
        Endpoint::Tcp(_) => bound.as_socket().is_some(),
        Endpoint::Unix { .. } => bound.is_unix(),
    });
    // A file that is gone is made anew, with a socket of its own.
    let reachable = match wanted {
        Endpoint::Unix {
            path: UnixAddress::Path(path),
            ..
        } => path.exists(),
        _ => true,
    };
    fits && reachable && socket.is_listener().unwrap_or(false)
}

/// A door that the gate before has served until now.
fn door(passed: Passed, address: &Endpoint) -> io::Result<Taken> {
    let Passed { label, socket } = passed;
    match address {
        Endpoint::Tcp(_) => {
            let listener = StdTcp::from(socket);
            listener.set_nonblocking(true)?;
            let bound = Endpoint::Tcp(listener.local_addr()?);
            let listener = TcpListener::from_std(listener)?;
            Ok((Listener::Tcp(listener), bound, None))
        }
        Endpoint::Unix { path, .. } => {
            let listener = StdUnix::from(socket);
            listener.set_nonblocking(true)?;
            let file = match path {
                UnixAddress::Path(path) if label.file => Some(SocketFile::of_another(path)?),
                _ => None,
            };
            let listener = UnixListener::from_std(listener)?;
            Ok((Listener::Unix(listener), address.clone(), file))
        }
    }
}

fn is_at(held: &StdUnix, wanted: &UnixAddress) -> bool {
    let Ok(address) = held.local_addr() else {
        return false;
    };
    match wanted {
        UnixAddress::Path(path) => address.as_pathname() == Some(path),
        UnixAddress::Abstract(name) => is_called(&address, name),
    }
}

#[cfg(target_os = "linux")]
fn is_called(address: &std::os::unix::net::SocketAddr, name: &str) -> bool {
    use std::os::linux::net::SocketAddrExt;
    address.as_abstract_name() == Some(name.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn is_called(_: &std::os::unix::net::SocketAddr, _: &str) -> bool {
    false
}

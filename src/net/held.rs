//! Listening sockets that the service manager holds for the gate (LISTEN_FDS of
//! systemd): they live on while one process follows another.

use std::io;
use std::net::TcpListener as StdTcp;
use std::os::unix::net::UnixListener as StdUnix;

use tokio::net::{TcpListener, UnixListener};

use super::accept::Listener;
use crate::config::{Endpoint, UnixAddress};

/// Sockets that nobody listens to yet.
#[derive(Debug, Default)]
pub struct Held {
    tcp: Vec<StdTcp>,
    unix: Vec<StdUnix>,
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

    /// The socket for this address. Must be called inside a runtime.
    pub(super) fn take(&mut self, address: &Endpoint) -> Option<io::Result<Listener>> {
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

//! Tells the service manager how far the gate is (sd_notify of systemd): one
//! datagram each time, and nothing where nobody asked for it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::gate::roster::{Mailbox, Order};

/// The way to the service manager; none: there is none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    /// How long it waits for a sign of life.
    watchdog: Option<Duration>,
}

impl Manager {
    /// As systemd says it in the environment.
    pub(super) fn from_environment() -> Manager {
        let said = |name| std::env::var(name).ok();
        let socket = said("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                None
            }
        });
        let mine = said("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = said("WATCHDOG_USEC").and_then(|micros| micros.parse().ok());
        let watchdog = micros.filter(|micros| mine && *micros > 0);
        Manager {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// Clients are let in.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is read again; [`ready`](Self::ready) follows.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1\nSTATUS=reading the configuration");
    }

    /// Nobody is let in any more.
    pub(super) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// Gives signs of life as long as every worker answers. Never returns.
    pub(super) async fn show_life(self, workers: Arc<[Mailbox]>) {
        let Some(patience) = self.watchdog else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(patience / 3).await;
            let mut alive = true;
            for worker in &*workers {
                alive &= worker.ask(Order::Look).await.is_some() || worker.is_gone();
            }
            if alive {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, state: &str) {
        // A manager that does not listen must not hold up the gate.
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

/// A path, or behind `@` a name without a file.
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.connect_addr(&address)?;
        }
        _ => socket.connect(Path::new(name))?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(listener: &UnixDatagram, name: &str) {
        let manager = Manager {
            socket: Some(Arc::new(connect(name).unwrap())),
            watchdog: None,
        };
        manager.reloading();
        manager.ready("well");
        let mut heard = [0; 200];
        let mut next = || {
            let length = listener.recv(&mut heard).unwrap();
            String::from_utf8_lossy(&heard[..length]).into_owned()
        };
        assert!(next().starts_with("RELOADING=1\n"));
        assert_eq!(next(), "READY=1\nSTATUS=well");
    }

    #[test]
    fn the_manager_hears_by_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        hears(&listener, &path.display().to_string());
        Manager::default().ready("nobody asked");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_manager_hears_by_an_abstract_name() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("portcullis-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        hears(&listener, &format!("@{name}"));
    }
}

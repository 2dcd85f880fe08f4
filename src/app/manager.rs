//! Tells the service manager how far the gate is (sd_notify of systemd): one
//! datagram each time, and nothing where nobody asked for it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gate::roster::{Mailbox, Order};

/// The way to the service manager; none: there is none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    /// How long it waits for a sign of life.
    watchdog: Option<Duration>,
    /// Where it listens.
    name: Arc<str>,
    /// It was told to listen to another process from now on.
    silent: Arc<AtomicBool>,
    /// We follow a process that it took for the service.
    follower: bool,
}

/// What a gate tells the one that follows it of its service manager.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tie {
    socket: String,
    watchdog_us: Option<u64>,
}

impl Manager {
    /// As systemd says it in the environment.
    pub(super) fn from_environment() -> Manager {
        let said = |name| std::env::var(name).ok();
        let mine = said("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = said("WATCHDOG_USEC").and_then(|micros| micros.parse().ok());
        let watchdog = micros.filter(|micros| mine && *micros > 0);
        Manager::at(said("NOTIFY_SOCKET"), watchdog)
    }

    fn at(name: Option<String>, watchdog_us: Option<u64>) -> Manager {
        let socket = name.as_deref().and_then(|name| match connect(name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                None
            }
        });
        Manager {
            socket,
            watchdog: watchdog_us.map(Duration::from_micros),
            name: name.unwrap_or_default().into(),
            ..Manager::default()
        }
    }

    /// The manager of the gate before. Its word goes before the environment's,
    /// which may speak of that process.
    pub(super) fn inherit(tie: Tie) -> Manager {
        Manager {
            follower: true,
            ..Manager::at(Some(tie.socket), tie.watchdog_us)
        }
    }

    /// What the gate that follows has to know; none: there is no manager.
    pub(super) fn tie(&self) -> Option<Tie> {
        self.socket.as_ref()?;
        let watchdog = self.watchdog.map(|it| it.as_micros());
        Some(Tie {
            socket: self.name.to_string(),
            watchdog_us: watchdog.and_then(|it| u64::try_from(it).ok()),
        })
    }

    /// The service is that process from now on, and nothing more is said here.
    /// It believes this of the process it took for the service, and of no other.
    pub(super) fn follow(&self, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.tell(&format!("MAINPID={pid}"));
        }
        self.silent.store(true, Ordering::Release);
    }

    /// Clients are let in.
    pub(super) fn ready(&self, status: &str) {
        let who = match self.follower {
            true => format!("MAINPID={}\n", std::process::id()),
            false => String::new(),
        };
        self.tell(&format!("{who}READY=1\nSTATUS={status}"));
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
            && !self.silent.load(Ordering::Acquire)
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
            name: name.into(),
            ..Manager::default()
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
        let follower = Manager::inherit(manager.tie().unwrap());
        manager.follow(Some(77));
        manager.stopping("unheard");
        follower.ready("better");
        assert_eq!(next(), "MAINPID=77");
        let me = std::process::id();
        assert_eq!(next(), format!("MAINPID={me}\nREADY=1\nSTATUS=better"));
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

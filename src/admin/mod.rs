//! The operator's door: health, metrics and status over HTTP.
//!
//! It has a small runtime on a thread of its own, so that a scrape never waits
//! for a worker and a worker never for a scrape.
//!
//! Deliberately not here: databases (liveness must not depend on them), and
//! anything that changes the gate.
//!
//! Read [`Admin::start`] first.

mod connection;
mod page;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::net::passing::{Label, Passing};
use crate::telemetry::Telemetry;

/// The role of its socket when it is passed on.
pub const ROLE: &str = "admin";

/// Whether the gate should be sent clients.
#[derive(Debug, Default)]
pub struct Readiness {
    listening: AtomicBool,
    refusing: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// All doors are open and all policies loaded.
    pub fn listening(&self) {
        self.listening.store(true, Ordering::Release);
    }

    /// The gate runs without usable policies and refuses every statement.
    pub fn refusing(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::Release);
    }

    /// No new clients, please.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why the gate is not ready; none: it is.
    pub fn problem(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            Some("draining")
        } else if !self.listening.load(Ordering::Acquire) {
            Some("starting")
        } else if self.refusing.load(Ordering::Acquire) {
            Some("policies are not loaded: every statement is refused")
        } else {
            None
        }
    }
}

/// What the composition root knows beyond the counters.
pub trait Status: Send + Sync + 'static {
    /// Entries of the status page, such as policies and the last reload.
    fn entries(&self) -> serde_json::Map<String, serde_json::Value>;
}

/// Everything the pages are made from.
#[derive(Clone)]
pub struct Sources {
    /// Counters.
    pub telemetry: Telemetry,
    /// Whether the gate should be sent clients.
    pub readiness: Arc<Readiness>,
    /// The rest.
    pub status: Arc<dyn Status>,
}

/// Why the operator's door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be bound.
    #[error("cannot listen on {address} for the admin pages")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No thread or runtime.
    #[error("cannot start the admin thread")]
    Start(#[source] std::io::Error),
}

/// The running door; closed when dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    /// The address as it is written in the configuration.
    written: SocketAddr,
    listener: Weak<TcpListener>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Binds, so that a port that is taken is an error at start, and serves; on a
    /// socket of the gate before if it passed one on.
    pub fn start(
        written: SocketAddr,
        passed: Option<std::net::TcpListener>,
        sources: Sources,
    ) -> Result<Admin, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Start)?;
        let listener = {
            let _inside = runtime.enter();
            passed
                .map_or_else(|| std::net::TcpListener::bind(written), Ok)
                .and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)
                })
                .and_then(|listener| Ok((listener.local_addr()?, Arc::new(listener))))
        };
        let (address, listener) = listener.map_err(|source| Error::Bind {
            address: written,
            source,
        })?;
        let weak = Arc::downgrade(&listener);
        let (stop, mut stopped) = watch::channel(false);
        let serve = async move {
            let pages = page::router(sources);
            let listener = connection::Limited::new(listener);
            let end = async move {
                // An error means that the owner is gone, which is the end as well.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            if let Err(error) = axum::serve(listener, pages)
                .with_graceful_shutdown(end)
                .await
            {
                tracing::error!(%error, "the admin pages are gone");
            }
        };
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                runtime.block_on(serve);
                runtime.shutdown_background();
            })
            .map_err(Error::Start)?;
        Ok(Admin {
            address,
            written,
            listener: weak,
            stop,
            thread: Some(thread),
        })
    }

    /// How the socket can be passed on to the gate that follows.
    pub fn passing(&self) -> Passing {
        let label = Label {
            role: ROLE.to_owned(),
            written: self.written.to_string(),
            bound: self.address.to_string(),
            file: false,
        };
        Passing::new(label, self.listener.clone(), None)
    }

    /// The address bound, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

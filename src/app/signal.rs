//! Signals of the operating system, with the meaning they have for PgBouncer.

use std::sync::Arc;

use super::reload::Trigger;
use super::shutdown::{Phase, Shutdown};
use crate::console::Console;

/// What a signal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// SIGTERM: nobody new; it ends when the last client has left.
    Close,
    /// SIGINT: nobody new; clients leave when their transactions have ended.
    Drain,
    /// SIGQUIT: at once.
    Now,
    /// SIGHUP: read everything again.
    Reload,
    /// SIGUSR1.
    Pause,
    /// SIGUSR2.
    Resume,
}

/// Whom signals concern.
pub(super) struct Listener {
    pub(super) shutdown: Shutdown,
    pub(super) trigger: Option<Trigger>,
    pub(super) console: Arc<Console>,
}

impl Listener {
    async fn act(&self, meaning: Meaning) {
        let phase = self.shutdown.phase();
        // That another gate took over was nobody's first word to this one.
        let again =
            phase > Phase::Closing || (phase > Phase::Running && !self.shutdown.is_relieved());
        match meaning {
            // Whoever asks twice does not want to wait.
            Meaning::Close | Meaning::Drain if again => self.shutdown.now(),
            Meaning::Close if self.shutdown.is_relieved() => self.shutdown.drain(),
            Meaning::Close => self.shutdown.close(),
            Meaning::Drain => self.shutdown.drain(),
            Meaning::Now => self.shutdown.now(),
            Meaning::Reload => {
                if let Some(trigger) = &self.trigger {
                    trigger.reload();
                }
            }
            Meaning::Pause => self.console.pause_everything(),
            Meaning::Resume => self.console.resume_everything().await,
        }
    }
}

/// Obeys signals for as long as the process lives.
#[cfg(unix)]
pub(super) async fn obey(listener: Listener) {
    use tokio::signal::unix::{SignalKind, signal};
    let listener = Arc::new(listener);
    for (kind, meaning) in [
        (SignalKind::terminate(), Meaning::Close),
        (SignalKind::interrupt(), Meaning::Drain),
        (SignalKind::quit(), Meaning::Now),
        (SignalKind::hangup(), Meaning::Reload),
        (SignalKind::user_defined1(), Meaning::Pause),
        (SignalKind::user_defined2(), Meaning::Resume),
    ] {
        let Ok(mut signals) = signal(kind) else {
            continue;
        };
        let listener = listener.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                tracing::info!(target: "portcullis::console", ?meaning, "signal");
                listener.act(meaning).await;
            }
        });
    }
}

/// Obeys Ctrl-C for as long as the process lives.
#[cfg(not(unix))]
pub(super) async fn obey(listener: Listener) {
    while tokio::signal::ctrl_c().await.is_ok() {
        listener.act(Meaning::Drain).await;
    }
}

//! Signals of the operating system.

use super::reload::Trigger;
use super::shutdown::Shutdown;

/// Ctrl-C and SIGTERM: the first drains, the second ends at once.
pub(super) async fn stop(shutdown: Shutdown) {
    #[cfg(unix)]
    let mut terminate = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).ok()
    };
    loop {
        #[cfg(unix)]
        let terminated = async {
            match &mut terminate {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        #[cfg(not(unix))]
        let terminated = std::future::pending::<Option<()>>();
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => {
                if interrupted.is_err() {
                    return;
                }
            }
            _ = terminated => {}
        }
        shutdown.further();
    }
}

/// SIGHUP: read everything again.
pub(super) async fn reload(trigger: Trigger) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return;
        };
        while hangup.recv().await.is_some() {
            trigger.reload();
        }
    }
    #[cfg(not(unix))]
    drop(trigger);
}

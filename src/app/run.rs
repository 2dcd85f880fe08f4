//! From the first client to the last: opening the doors, and closing them in order.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;

use super::commands::Desk;
use super::live::Live;
use super::manager::Manager;
use super::reload::{self, Reloading, Trigger, Watch};
use super::shutdown::{Phase, Shutdown};
use super::steer::Steer;
use super::takeover::give::Giving;
use super::{App, AppError, doors, signal, workers};
use crate::admin::Admin;
use crate::config::Endpoint;
use crate::console::{Console, Plant};
use crate::control::{self, Seat};
use crate::gate::roster::{Mailbox, Orders, mailbox};
use crate::net::Acceptor;
use crate::net::passing::Passing;
use crate::telemetry::{Event, Recorder};

impl App {
    /// Serves until `shutdown` says so and everybody has left. Blocks: not for async callers.
    pub fn serve(self, shutdown: &Shutdown) -> Result<(), AppError> {
        self.run(shutdown, |_| ())
    }

    /// Serves until a signal ends it; `docs/console.md` says what each means. Blocks.
    pub fn serve_until_signal(mut self) -> Result<(), AppError> {
        let tie = self.before.as_mut().and_then(|before| before.tie.take());
        self.manager = tie.map_or_else(Manager::from_environment, Manager::inherit);
        let shutdown = Shutdown::new();
        let handle = self.side.handle().clone();
        self.run(&shutdown, |listener| {
            handle.spawn(signal::obey(listener));
        })
    }

    fn run(
        mut self,
        shutdown: &Shutdown,
        started: impl FnOnce(signal::Listener),
    ) -> Result<(), AppError> {
        let count = workers::count(self.shared.config.load().workers);
        let (mailboxes, orders): (Vec<Mailbox>, Vec<Orders>) =
            std::iter::repeat_with(mailbox).take(count).unzip();
        let mailboxes: Arc<[Mailbox]> = mailboxes.into();
        let watch = self.watch(&mailboxes)?;
        let trigger = watch.as_ref().map(Watch::trigger);
        let (closing, closed) = watch::channel(false);
        let console = self.console(shutdown, &mailboxes, trigger.clone(), closed.clone());
        self.side.spawn(console.clone().keep_averages());
        self.side
            .spawn(self.manager.clone().show_life(mailboxes.clone()));
        let (handovers, threads) =
            workers::start(&self.shared, &console, orders).map_err(AppError::Thread)?;
        let passing = self.acceptors.iter().map(Acceptor::passing);
        let passing = passing.chain(self.admin.as_ref().map(Admin::passing));
        self.hear_commands(shutdown, passing.collect())?;
        // Nothing can fail any more: now the gate before is told to go.
        self.relieve()?;
        let accepting: Vec<_> = std::mem::take(&mut self.acceptors)
            .into_iter()
            .map(|acceptor| {
                let admit = doors::admit(&self.shared.doors, &self.shared.telemetry);
                self.side
                    .spawn(acceptor.run(handovers.clone(), admit, closed.clone()))
            })
            .collect();
        drop(handovers);
        let upkeep = self.side.spawn_blocking({
            let (live, telemetry) = (self.live.clone(), self.shared.telemetry.clone());
            move || upkeep(&live, &telemetry.recorder(), &closed)
        });
        self.readiness.listening();
        let addresses: Vec<String> = self.addresses.iter().map(Endpoint::to_string).collect();
        let addresses = addresses.join(", ");
        tracing::info!(addresses, "the gate is open");
        self.manager.ready(&format!("open on {addresses}"));
        started(signal::Listener {
            shutdown: shutdown.clone(),
            trigger,
            console,
        });

        self.side.block_on(shutdown.reached(Phase::Closing));
        self.readiness.draining();
        tracing::info!("closing: no new clients");
        self.manager.stopping("waiting for clients to leave");
        let _ = closing.send(true);
        let relieved = shutdown.is_relieved();
        if relieved && let Some(admin) = self.admin.take() {
            // The pages are the other gate's. Closing them waits for who reads them.
            self.side.spawn_blocking(move || drop(admin));
        }
        self.side.block_on(async {
            for door in accepting {
                let _ = door.await;
            }
        });
        let _ = self.side.block_on(upkeep);
        let limits = self.shared.config.load().limits.clone();
        let patience = limits.drain_timeout;
        let leisure = if relieved {
            limits.takeover_timeout
        } else {
            patience
        };
        self.side
            .block_on(leave(&threads, shutdown, Phase::Draining, leisure));
        tracing::info!("draining: clients leave when their transactions have ended");
        // A reload must not swap anything any more.
        drop(watch);
        let _ = self.drain.send(true);
        self.side
            .block_on(leave(&threads, shutdown, Phase::Now, patience));
        let _ = self.stop.send(true);
        for thread in threads {
            // A worker that panicked has said so in the log.
            let _ = thread.join();
        }
        tracing::info!("the gate is closed");
        drop(self.admin);
        self.side.shutdown_timeout(Duration::from_secs(2));
        Ok(())
    }

    /// Opens the control socket.
    fn hear_commands(
        &mut self,
        shutdown: &Shutdown,
        sockets: Vec<Passing>,
    ) -> Result<(), AppError> {
        let Some(seat) = &mut self.seat else {
            return Ok(());
        };
        let (process, manager) = (seat.process(), self.manager.clone());
        let desk = Desk {
            process,
            shutdown: shutdown.clone(),
            clients: self.shared.clients.clone(),
            cancels: self.shared.cancels.clone(),
            giving: Giving::new(process, sockets, shutdown.clone(), manager),
            live: self.live.clone(),
        };
        if let Some(listener) = seat.take_listener() {
            let _inside = self.side.enter();
            let listener = UnixListener::from_std(listener).map_err(control::Error::from)?;
            self.side.spawn(control::serve(listener, Arc::new(desk)));
        }
        Ok(())
    }

    /// Takes the place of the gate before, if there is one, and is found from now on.
    fn relieve(&mut self) -> Result<(), AppError> {
        let follows = self.before.is_some();
        if let Some(before) = self.before.take() {
            let relieving = before.gate.relieve(before.taken);
            self.side.block_on(relieving).map_err(AppError::Takeover)?;
            self.acceptors.iter().for_each(Acceptor::own);
        }
        match self.seat.as_ref().map(Seat::become_current) {
            // Too late to go back: clients need somebody now.
            Some(Err(error)) if follows => {
                tracing::error!(%error, "the control socket is not found by its name");
                Ok(())
            }
            Some(failed) => Ok(failed?),
            None => Ok(()),
        }
    }

    fn console(
        &self,
        shutdown: &Shutdown,
        workers: &Arc<[Mailbox]>,
        trigger: Option<Trigger>,
        closing: watch::Receiver<bool>,
    ) -> Arc<Console> {
        let shared = &self.shared;
        Console::new(Plant {
            config: shared.config.clone(),
            policies: shared.policies.clone(),
            telemetry: shared.telemetry.clone(),
            backends: shared.backends.clone(),
            brakes: shared.brakes.clone(),
            workers: workers.clone(),
            connected: shared.clients.clone(),
            closing,
            control: Arc::new(Steer {
                shutdown: shutdown.clone(),
                board: self.board.clone(),
                trigger,
            }),
        })
    }

    fn watch(&self, workers: &Arc<[Mailbox]>) -> Result<Option<Watch>, AppError> {
        let config = self.shared.config.load_full();
        if !self.options.watch || config.path.is_none() {
            return Ok(None);
        }
        let (databases, readiness) = (self.databases.clone(), self.readiness.clone());
        let reloading = Reloading {
            config: self.shared.config.clone(),
            policies: self.shared.policies.clone(),
            board: self.board.clone(),
            doors: self.shared.doors.clone(),
            directories: self.shared.directories.clone(),
            telemetry: self.shared.telemetry.clone(),
            databases,
            readiness,
            workers: workers.clone(),
            side: self.side.handle().clone(),
            turn: self.live.turn.clone(),
        };
        let manager = self.manager.clone();
        let watch = Watch::start(reload::files(&config), move || {
            let recorder = reloading.telemetry.recorder();
            move || {
                manager.reloading();
                let files = reloading.attempt(&recorder);
                let error = reloading.board.last_error();
                manager.ready(match error {
                    None => "open",
                    Some(_) => "open; the new configuration is wrong and was not taken",
                });
                files
            }
        });
        watch.map(Some).map_err(AppError::Thread)
    }
}

/// Records what policies did wrong beside the path of statements, and ends
/// overrides whose time has come.
fn upkeep(live: &Live, recorder: &Recorder, closed: &watch::Receiver<bool>) {
    while !*closed.borrow() {
        live.expire();
        for (policy, fault) in live.policies.take_faults() {
            recorder.emit(&Event::PolicyFault {
                policy: &policy,
                fault: fault.kind.name(),
                message: &fault.message,
                incident: None,
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns when all workers have ended, when stopping has come to `phase`, or patience has ended.
async fn leave(threads: &[JoinHandle<()>], shutdown: &Shutdown, phase: Phase, patience: Duration) {
    let ended = async {
        while !threads.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = shutdown.reached(phase) => {}
        () = tokio::time::sleep(patience) => {}
    }
}

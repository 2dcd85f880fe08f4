//! What changes something: commands and the waiting that some of them do.
//!
//! Deliberately not here: who may say it, and how it is answered (`session`).
//!
//! Read [`act`] first.

mod databases;
pub(super) mod settings;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::command::{Command, Stop};
use super::gather::{Picture, no_answer};
use super::{Console, ITSELF};
use crate::gate::roster::{Ending, Order, Whom};
use crate::model::UserMessage;

/// The words, for SHOW HELP.
pub(super) const HELP: &[&str] = &[
    "SET key = arg",
    "RELOAD",
    "PAUSE [<db>]",
    "RESUME [<db>]",
    "DISABLE <db>",
    "ENABLE <db>",
    "RECONNECT [<db>]",
    "KILL [<db>]",
    "KILL_CLIENT <client_id>",
    "SUSPEND",
    "SHUTDOWN",
    "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS",
    "WAIT_CLOSE [<db>]",
];

/// How often a command that waits looks again.
const LOOK: Duration = Duration::from_millis(20);
/// Time for what is under way when everything is suspended.
const SUSPEND_TIMEOUT: Duration = Duration::from_secs(10);

type Done = Result<&'static str, UserMessage>;

/// Carries a command out; gives the tag that answers it.
pub(super) async fn act(console: &Console, command: Command) -> Done {
    match command {
        Command::Reload => reload(console).await,
        Command::Set(key, value) => settings::set(console, &key, &value),
        Command::Pause(name) => pause(console, name).await,
        Command::Resume(name) => resume(console, name).await,
        Command::Disable(name) => disable(console, &name, true),
        Command::Enable(name) => disable(console, &name, false),
        Command::Reconnect(name) => {
            let names = databases::chosen(console, name.as_deref(), "reconnect")?;
            console.plant.backends.load().retire(&names);
            Ok("RECONNECT")
        }
        Command::Kill(name) => kill(console, name).await,
        Command::KillClient(id) => kill_client(console, id).await,
        Command::Suspend => suspend(console).await,
        Command::WaitClose(name) => {
            let names = databases::chosen(console, name.as_deref(), "wait in")?;
            until(|| console.plant.backends.load().retired_links(&names) == 0).await;
            Ok("WAIT_CLOSE")
        }
        Command::Shutdown(how) => {
            console.plant.control.stop(how);
            if how == Stop::Now {
                // The end of the connection is the answer.
                std::future::pending::<()>().await;
            }
            Ok("SHUTDOWN")
        }
        // Answered by the session itself.
        Command::Show(_)
        | Command::Setting(..)
        | Command::Courtesy(_)
        | Command::Begin
        | Command::Commit
        | Command::Rollback => Ok("SHOW"),
    }
}

/// Waits as long as the operator does: it may cancel, or leave.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(LOOK).await;
    }
}

fn state(message: impl Into<String>) -> UserMessage {
    UserMessage::error("55000", message)
}

async fn reload(console: &Console) -> Done {
    match console.plant.control.reload().await {
        Ok(()) => Ok("RELOAD"),
        Err(problems) => Err(
            UserMessage::error("F0000", "RELOAD failed: nothing has changed")
                .detail(problems)
                .hint("Put the file right and RELOAD again, or look with `portcullis check`."),
        ),
    }
}

async fn pause(console: &Console, name: Option<String>) -> Done {
    let brakes = &console.plant.brakes;
    if brakes.is_everything_held() || console.suspended.load(Ordering::Relaxed) {
        return Err(state("already suspended/paused"));
    }
    let names = databases::chosen(console, name.as_deref(), "pause")?;
    match name {
        None => pause_everything(console),
        Some(_) => {
            for name in &names {
                brakes.pause(name);
            }
            console.plant.backends.load().hold(&names, true);
            console.plant.backends.load().retire(&names);
        }
    }
    // Not before all connections to the servers are closed.
    until(|| {
        let still = names.iter().all(|name| brakes.of(name).is_held());
        !still || console.plant.backends.load().links(&names) == 0
    })
    .await;
    Ok("PAUSE")
}

pub(super) fn pause_everything(console: &Console) {
    console.plant.brakes.pause_everything();
    let (names, backends) = (databases::all(console), console.plant.backends.load());
    backends.hold(&names, true);
    backends.retire(&names);
}

async fn resume(console: &Console, name: Option<String>) -> Done {
    match name {
        Some(name) => {
            let names = databases::chosen(console, Some(&name), "resume")?;
            let loosened = names
                .iter()
                .filter(|name| console.plant.brakes.resume(name));
            let count = loosened.count();
            release(console);
            if count == 0 {
                return Err(state(format!("database {name} is not paused")));
            }
        }
        None if console.plant.control.is_stopping() => {
            return Err(state("pooler is shutting down"));
        }
        None => {
            if !resume_everything(console).await {
                return Err(state("pooler is not paused/suspended"));
            }
        }
    }
    Ok("RESUME")
}

/// False: nothing was held.
pub(super) async fn resume_everything(console: &Console) -> bool {
    let suspended = console.suspended.swap(false, Ordering::Relaxed);
    if suspended {
        listen(console, true).await;
    }
    let loosened = console.plant.brakes.resume_everything();
    release(console);
    loosened || suspended
}

/// Lets pools of databases that are not held open what they keep ready.
fn release(console: &Console) {
    let mut names = databases::all(console);
    names.retain(|name| !console.plant.brakes.of(name).is_held());
    console.plant.backends.load().hold(&names, false);
}

/// Whether clients are listened to.
async fn listen(console: &Console, listen: bool) -> bool {
    let mut heard = true;
    for worker in &*console.plant.workers {
        let order = |answer| Order::Suspend {
            on: !listen,
            answer,
        };
        heard &= worker.ask(order).await.is_some() || worker.is_gone();
    }
    heard
}

async fn suspend(console: &Console) -> Done {
    if console.plant.brakes.is_everything_held() || console.suspended.swap(true, Ordering::Relaxed)
    {
        return Err(state("already suspended/paused"));
    }
    let work = async {
        if !listen(console, false).await {
            return Err(no_answer());
        }
        loop {
            let picture = Picture::take(&console.plant).await?;
            if picture.clients.iter().all(|client| client.quiet) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let failed = match tokio::time::timeout(SUSPEND_TIMEOUT, work).await {
        Ok(Ok(())) => return Ok("SUSPEND"),
        Ok(Err(error)) => error,
        Err(_) => state("statements that are under way do not end")
            .hint("Everything goes on; cancel them, or PAUSE."),
    };
    resume_everything(console).await;
    Err(failed)
}

fn disable(console: &Console, name: &str, disabled: bool) -> Done {
    let what = if disabled { "disable" } else { "enable" };
    for name in databases::chosen(console, Some(name), what)? {
        console.plant.brakes.of(&name).disable(disabled);
    }
    Ok(if disabled { "DISABLE" } else { "ENABLE" })
}

async fn kill(console: &Console, name: Option<String>) -> Done {
    let brakes = &console.plant.brakes;
    if brakes.is_everything_held() || console.suspended.load(Ordering::Relaxed) {
        return Err(state("already suspended/paused"));
    }
    let names = databases::chosen(console, name.as_deref(), "kill")?;
    for name in &names {
        brakes.pause(name);
    }
    console.plant.backends.load().hold(&names, true);
    console.plant.backends.load().retire(&names);
    end(console, Whom::Databases(names)).await?;
    Ok("KILL")
}

async fn kill_client(console: &Console, id: u64) -> Done {
    match end(console, Whom::Client(id)).await? {
        0 => Err(UserMessage::error("42704", "client not found")
            .hint("SHOW CLIENTS has the ids in the column `id`.")),
        _ => Ok("KILL_CLIENT"),
    }
}

/// Ends sessions on all workers; how many there were.
async fn end(console: &Console, whom: Whom) -> Result<usize, UserMessage> {
    let mut count = 0;
    for worker in &*console.plant.workers {
        let order = |answer| Order::End {
            whom: whom.clone(),
            how: Ending::Killed,
            answer,
        };
        match worker.ask(order).await {
            Some(hit) => count += hit,
            None if worker.is_gone() => {}
            None => return Err(no_answer()),
        }
    }
    Ok(count)
}

/// What a cancel does to a command that waits: it is given up, and what it held
/// goes on, as in PgBouncer.
pub(super) async fn give_up(console: &Console, command: &Command) {
    match command {
        Command::Pause(None) | Command::Suspend => {
            resume_everything(console).await;
        }
        Command::Pause(Some(name)) => {
            let name: Arc<str> = name.as_str().into();
            if *name != *ITSELF {
                console.plant.brakes.resume(&name);
                release(console);
            }
        }
        _ => {}
    }
}

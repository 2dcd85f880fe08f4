//! The PostgreSQL door: start-up, encryption, negotiation, authentication.
//!
//! Nothing is promised to somebody who has not proven who it is: unknown users
//! and wrong passwords get the same questions and the same answer, and the
//! databases that exist are told only afterwards.

pub mod attempts;
mod channel;
pub mod directory;
mod enter;
mod login;
mod method;
mod origin;
mod parameters;
mod password;
pub mod scram;
pub mod serve;

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{Config, Gates};
use crate::gate::cancel::Cancels;
use crate::gate::{Arrival, Visit};
use crate::model::UserMessage;
use crate::net::{Socket, tls};
use crate::wire::postgres as wire;

/// What a door needs to know; shared by all connections.
#[derive(Clone)]
pub struct Door {
    /// Users, databases, limits.
    pub config: Arc<Config>,
    /// Keys of the living sessions.
    pub cancels: Arc<Cancels>,
    /// Secret of this process, from which mock salts follow.
    pub seed: [u8; 32],
    /// Failed logins of late.
    pub attempts: Arc<attempts::Attempts>,
    /// Users that are not in the configuration.
    pub directory: Arc<dyn directory::Directory>,
    /// Encryption; none: not offered.
    pub tls: Option<Arc<tls::Server>>,
    /// Who may come, and whose word for it is taken.
    pub gates: Arc<Gates>,
}

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer went away.
    #[error("the client went away during start-up")]
    Io(#[from] std::io::Error),
    /// Not the protocol.
    #[error("the client does not speak the protocol: {0}")]
    Protocol(#[from] wire::Error),
    /// No TLS, though it was begun.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Told the client so.
    #[error("login refused: {}", .0.message.message)]
    Refused(Box<TurnedAway>),
}

/// Somebody who was told not to come in.
#[derive(Debug)]
pub struct TurnedAway {
    /// What it was told.
    pub message: UserMessage,
    /// Why, in a word for the log. May be more than it was told.
    pub reason: &'static str,
    /// Name that was given; empty before the start-up packet.
    pub user: String,
    /// Database that was asked for.
    pub database: String,
}

impl TurnedAway {
    fn new(message: UserMessage) -> TurnedAway {
        let reason = match message.code {
            "28P01" => "password",
            "3D000" => "unknown-database",
            "08P01" => "protocol",
            _ => "not-allowed",
        };
        TurnedAway {
            message,
            reason,
            user: String::new(),
            database: String::new(),
        }
    }

    /// For a reason that the client is not told.
    fn because(self, reason: &'static str) -> TurnedAway {
        TurnedAway { reason, ..self }
    }
}

impl From<TurnedAway> for Error {
    fn from(away: TurnedAway) -> Error {
        Error::Refused(Box::new(away))
    }
}

/// How start-up ended.
#[derive(Debug)]
pub enum Welcome {
    /// Authenticated; AuthenticationOk is written.
    Arrived(Arrival<Socket>),
    /// The same, and it wants the console.
    Visiting(Visit<Socket>),
    /// A cancel request, carried out; or a probe that left. Nothing to serve.
    Done,
}

/// Carries a fresh connection through start-up and authentication.
///
/// Who has not proven who it is by the deadline is told so; the caller bounds
/// the time for everything else.
pub async fn welcome(
    door: &Door,
    stream: Socket,
    peer: Option<std::net::IpAddr>,
    deadline: Instant,
) -> Result<Welcome, Error> {
    let Some(entered) = enter::enter(door, stream).await? else {
        return Ok(Welcome::Done);
    };
    let enter::Entered {
        mut stream,
        mut inbox,
        startup,
    } = entered;
    let channel = channel::Channel::of(door, &stream, peer);
    let login = login::login(door, &mut stream, &mut inbox, &startup, &channel);
    let login = tokio::time::timeout_at(deadline, login).await;
    match login.unwrap_or_else(|_| Err(too_slow().into())) {
        Ok(admitted) => {
            let registration = door.cancels.register(startup.spoken() >= 2);
            let ends = stream.ends();
            let login::Admitted {
                client,
                user,
                goal,
                parameters,
            } = admitted;
            Ok(match goal {
                login::Goal::Database(database) => Welcome::Arrived(Arrival {
                    stream,
                    ends,
                    inbox,
                    client,
                    user,
                    database,
                    parameters,
                    registration,
                }),
                login::Goal::Console(role) => Welcome::Visiting(Visit {
                    stream,
                    ends,
                    inbox,
                    client,
                    role,
                    parameters,
                    registration,
                }),
            })
        }
        Err(Error::Refused(mut away)) => {
            let named = |name| startup.get(name).unwrap_or_default().to_owned();
            (away.user, away.database) = (named("user"), named("database"));
            enter::tell(&mut stream, &away.message).await?;
            Err(Error::Refused(away))
        }
        Err(error) => Err(error),
    }
}

fn too_slow() -> TurnedAway {
    let message = "canceling authentication due to timeout";
    TurnedAway::new(UserMessage::fatal("57014", message)).because("timeout")
}

//! Who is it, and may it use that database.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::channel::Channel;
use super::directory::Known;
use super::method;
use super::parameters::parameters;
use super::password::{self, Proving};
use super::{Door, Error, TurnedAway};
use crate::config::{ConsoleRole, Credential, Database, Method, Proof, User};
use crate::model::{Client, UserMessage};
use crate::wire::postgres::encode;
use crate::wire::postgres::startup::Startup;

/// Somebody who may come in.
pub(super) struct Admitted {
    pub(super) client: Arc<Client>,
    pub(super) user: Arc<User>,
    pub(super) goal: Goal,
    pub(super) parameters: Vec<(String, String)>,
}

/// What somebody came for.
pub(super) enum Goal {
    /// A database.
    Database(Arc<Database>),
    /// The console.
    Console(ConsoleRole),
}

/// Authenticates and finds the database. Writes AuthenticationOk.
pub(super) async fn login<S>(
    door: &Door,
    stream: &mut S,
    inbox: &mut BytesMut,
    startup: &Startup,
    channel: &Channel,
) -> Result<Admitted, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(name) = startup.get("user").filter(|name| !name.is_empty()) else {
        return refuse(UserMessage::fatal(
            "28000",
            "no PostgreSQL user name specified in startup packet",
        ));
    };
    if startup
        .get("replication")
        .is_some_and(|value| !matches!(value, "" | "0" | "off" | "false" | "no"))
    {
        return refuse(
            UserMessage::fatal(
                "0A000",
                "replication connections are not supported by the gate",
            )
            .hint("Connect to the database server directly for replication."),
        );
    }
    let wanted = startup
        .get("database")
        .filter(|name| !name.is_empty())
        .unwrap_or(name);
    let config = &door.config;
    // By its first name, whatever the client calls it: no rule is walked around.
    let console = config.console.answers_to(wanted);
    let database = config.database(wanted).filter(|_| !console);
    let called = database.as_ref().map_or(wanted, |database| &*database.name);
    let rule = method::rule(config, channel, name, called)?;
    let attempt = door.attempts.attempt(&config.limits, channel.address, name);
    let known = Known::find(door, called, name, &attempt, console).await?;
    // Elsewhere it is nobody: same questions, same answer.
    let user = known.user.as_deref();
    let user = user.filter(|user| user.access.lets_in(channel.address));
    let method = method::method(rule, config, channel, user);
    let proving = Proving {
        door,
        stream: &mut *stream,
        inbox,
        name,
        credential: user.map_or(&Credential::Nothing, |user| &user.credential),
        channel,
        attempt,
    };
    match prove(proving, method, user).await {
        Ok(proof) => {
            if let Some(slot) = user.and_then(|user| user.proof.as_ref())
                && let Some(proof) = proof
            {
                slot.learn(proof);
            }
        }
        Err(Error::Refused(away)) => {
            known.mistaken(door, called, name);
            let elsewhere = known.user.is_some() && user.is_none();
            let away = *away;
            return Err(if elsewhere {
                away.because("address")
            } else {
                away
            }
            .into());
        }
        Err(error) => return Err(error),
    }
    let user = user.and(known.user.as_ref());
    let Some(user) = user else {
        let message = format!("role \"{name}\" does not exist");
        return refuse(UserMessage::fatal("28000", message));
    };
    let mut out = BytesMut::new();
    encode::frame(&mut out, b'R', |out| out.put_i32(0));

    let goal = match goal(door, user, database, wanted) {
        Ok(goal) => goal,
        Err(message) => {
            // Authenticated first, so that the true state may follow it.
            stream.write_all(&out).await?;
            return refuse(message);
        }
    };
    stream.write_all(&out).await?;
    stream.flush().await?;
    let parameters = parameters(startup, &config.ignore_startup_parameters);
    Ok(Admitted {
        client: Arc::new(Client {
            user: user.name.clone(),
            database: match &goal {
                Goal::Database(database) => database.name.clone(),
                Goal::Console(_) => Arc::from(wanted),
            },
            address: channel.address,
        }),
        user: user.clone(),
        goal,
        parameters,
    })
}

/// What stands behind this name for this user.
fn goal(
    door: &Door,
    user: &User,
    database: Option<Arc<Database>>,
    wanted: &str,
) -> Result<Goal, UserMessage> {
    let console = &door.config.console;
    if console.answers_to(wanted) {
        return console.role(&user.name).map(Goal::Console).ok_or_else(|| {
            let message = format!("user \"{}\" may not use the console", user.name);
            UserMessage::fatal("28000", message)
                .hint("Name the user in `admins` or `readers` of [console].")
        });
    }
    let may = |database: &Arc<Database>| {
        user.databases.is_empty() || user.databases.iter().any(|name| database.is_called(name))
    };
    database
        .filter(may)
        .map(Goal::Database)
        .ok_or_else(|| UserMessage::fatal("3D000", format!("database \"{wanted}\" does not exist")))
}

/// Carries the method out; returns only when it was satisfied, with what was
/// learnt from it.
async fn prove<S>(
    proving: Proving<'_, S>,
    method: Method,
    user: Option<&User>,
) -> Result<Option<Proof>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (channel, name) = (proving.channel, proving.name);
    let proof = match method {
        Method::Trust | Method::Certificate => None,
        Method::Peer => {
            channel.is_peer_of(user, name).await?;
            None
        }
        Method::Scram | Method::Md5 | Method::Password => Some(proving.run(method).await?),
        // Never chosen; and if it were, nobody comes in by it.
        Method::Reject => return Err(password::wrong(name)),
    };
    match user.and_then(|user| user.common_name.as_deref()) {
        Some(wanted) => channel.is_certified_as(wanted, name)?,
        None if method == Method::Certificate => channel.is_certified_as(name, name)?,
        None => {}
    }
    Ok(proof)
}

fn refuse<T>(message: UserMessage) -> Result<T, Error> {
    Err(TurnedAway::new(message).into())
}

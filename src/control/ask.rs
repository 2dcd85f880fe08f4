//! The other side: asking a gate.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::place::own_user;
use super::{Caller, Error, Line, Reply, Request};

/// Time in which an answer must have come: longer than any command takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Connects to a gate, and makes sure that it is one of this user's.
pub async fn connect(socket: &Path) -> Result<(Line, Caller), Error> {
    let connected = UnixStream::connect(socket).await;
    let stream = connected.map_err(|source| Error::Nobody {
        path: socket.to_owned(),
        source,
    })?;
    let gate = Caller::of(&stream)?;
    if !gate.is_own_user() && own_user() != 0 {
        return Err(Error::Stranger(socket.to_owned()));
    }
    Ok((Line::new(stream), gate))
}

/// Asks one thing.
pub async fn ask(socket: &Path, command: &str, arguments: Value) -> Result<Value, Error> {
    let asking = async {
        let (mut line, _) = connect(socket).await?;
        line.send(&Request::new(command, arguments)).await?;
        line.receive::<Reply>().await?.into_result()
    };
    let answered = timeout(PATIENCE, asking).await;
    answered.map_err(|_| Error::Slow(PATIENCE))?
}

/// The same for callers that are not async: the command line.
pub fn ask_and_wait(socket: &Path, command: &str, arguments: Value) -> Result<Value, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(ask(socket, command, arguments))
}

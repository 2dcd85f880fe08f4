//! The PostgreSQL session over a backend that answers with typed rows (SQLite).
//!
//! It does what the server does behind the relay: keeps prepared statements,
//! portals and the state of the transaction, and speaks the protocol. Every
//! statement takes the straight line of [`line`], [`run`](mod@run) and [`trace`], on both protocols. Every
//! statement runs in a transaction that this session commits, so that whatever
//! turns out to be too much afterwards can still be taken back.
//!
//! Deliberately not here: SQL dialects (`backend::sqlite` translates), policies.
//!
//! Read [`run`], then [`line`].

mod describe;
mod extended;
mod limits;
mod line;
mod moment;
mod numeric;
mod own;
mod portal;
mod prepared;
mod reach;
mod run;
mod session;
mod settings;
mod simple;
#[cfg(test)]
mod tests;
mod trace;
mod transaction;
mod value;

use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::hooks::Admission;
use super::roster::Presence;
use super::{Arrival, Error, Worker};
use crate::backend::sqlite::{Engine, Identity};
use crate::model::UserFacing;
use crate::wire::postgres::encode;
use session::Session;

/// Time for the last words to somebody who is made to leave.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves one client that has logged in, until it leaves.
pub async fn run<S>(
    mut arrival: Arrival<S>,
    worker: Rc<Worker>,
    engine: Arc<Engine>,
    admission: Admission,
    presence: Rc<Presence>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let identity = Identity {
        user: arrival.client.user.to_string(),
        database: arrival.client.database.to_string(),
        pid: arrival.registration.key.pid,
    };
    let link = match engine.connect(&identity).await {
        Ok(link) => link,
        Err(error) => {
            let mut out = bytes::BytesMut::new();
            encode::error(&mut out, &error.user_message());
            session::write(&mut arrival.stream, &mut out).await?;
            return Err(error.into());
        }
    };
    let mut session = Session::new(arrival, worker, link, admission, presence).await;
    session.greet();
    let result = session.serve().await;
    if let Err(Error::Ended(how)) = &result {
        let message = how.message(&session.client);
        encode::error(&mut session.outbox, &message);
        // It may be gone already, or not listen.
        let _ = tokio::time::timeout(FAREWELL, session.flush()).await;
    }
    result
}

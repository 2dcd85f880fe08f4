//! One accepted connection, from its first byte to its last.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use super::origin::origin;
use super::{Door, Error, Welcome, welcome};
use crate::gate::{self, Backends, Visit, Worker};
use crate::net::Socket;
use crate::telemetry::Event;

/// Time in which somebody who was too slow takes the reason.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection. Never fails: what went wrong is recorded. Who wants the
/// console is let in and handed back.
pub async fn connection(
    mut socket: Socket,
    door: Door,
    worker: Rc<Worker>,
    backends: Backends,
    clients: usize,
) -> Option<Visit<Socket>> {
    let peer = socket.peer();
    if clients > door.config.limits.clients_max {
        refused(&worker, peer, "too-many");
        let mut out = bytes::BytesMut::new();
        let message = crate::model::UserMessage::fatal("53300", "sorry, too many clients already");
        crate::wire::postgres::encode::error(&mut out, &message);
        let _ = socket.write_all(&out).await;
        return None;
    }
    let deadline = Instant::now() + door.config.limits.login_timeout;
    let peer = match timeout_at(deadline, origin(&door, &mut socket)).await {
        Ok(Ok(client)) => client,
        failed => {
            turned_away(&worker, peer, failed.map(Result::err));
            return None;
        }
    };
    // Again, because behind a balancer only now it is known who comes.
    if !door.gates.access.lets_in(peer) {
        refused(&worker, peer, "address");
        return None;
    }
    let welcomed = Box::pin(welcome(&door, socket, peer, deadline));
    let arrival = match timeout_at(deadline + FAREWELL, welcomed).await {
        Ok(Ok(Welcome::Arrived(arrival))) => arrival,
        Ok(Ok(Welcome::Visiting(visit))) => return Some(visit),
        Ok(Ok(Welcome::Done)) => return None,
        failed => {
            turned_away(&worker, peer, failed.map(Result::err));
            return None;
        }
    };
    if let Err(error) = gate::serve(arrival, worker, &backends).await {
        tracing::debug!(%error, "session ended");
    }
    None
}

fn refused(worker: &Worker, address: Option<IpAddr>, reason: &'static str) {
    worker
        .recorder
        .emit(&Event::ConnectionRefused { address, reason });
}

/// Records why somebody did not come in; no error where the time ran out.
fn turned_away(
    worker: &Worker,
    address: Option<IpAddr>,
    failed: Result<Option<Error>, tokio::time::error::Elapsed>,
) {
    match failed {
        Ok(Some(Error::Refused(why))) => worker.recorder.emit(&Event::LoginFailed {
            user: &why.user,
            database: &why.database,
            address,
            reason: why.reason,
        }),
        Ok(Some(Error::Protocol(_))) => refused(worker, address, "protocol"),
        Ok(Some(Error::Tls(error))) => {
            tracing::debug!(%error, "no encryption");
            refused(worker, address, "tls");
        }
        // Somebody looked whether the port is open.
        Ok(Some(Error::Io(_)) | None) => {}
        Err(_) => refused(worker, address, "timeout"),
    }
}

//! One accepted connection, from its first byte to its last.

use std::rc::Rc;

use tokio::io::AsyncWriteExt;

use super::{Door, Error, Welcome, welcome};
use crate::gate::{self, Backends, Worker};
use crate::net::Socket;
use crate::telemetry::Event;

/// Serves a connection. Never fails: what went wrong is recorded.
pub async fn connection(
    mut socket: Socket,
    door: Door,
    worker: Rc<Worker>,
    backends: Backends,
    clients: usize,
) {
    let peer = socket.peer();
    if clients > door.config.limits.clients_max {
        worker.recorder.emit(&Event::ConnectionRefused {
            address: peer,
            reason: "too-many",
        });
        let mut out = bytes::BytesMut::new();
        let message = crate::model::UserMessage::fatal("53300", "sorry, too many clients already");
        crate::wire::postgres::encode::error(&mut out, &message);
        let _ = socket.write_all(&out).await;
        return;
    }
    let login = tokio::time::timeout(
        door.config.limits.login_timeout,
        welcome(&door, socket, peer),
    )
    .await;
    let arrival = match login {
        Ok(Ok(Welcome::Arrived(arrival))) => arrival,
        Ok(Ok(Welcome::Done)) => return,
        Ok(Err(Error::Refused(message))) => {
            worker.recorder.emit(&Event::LoginFailed {
                user: "",
                database: "",
                address: peer,
                reason: reason(message.code),
            });
            return;
        }
        Ok(Err(Error::Protocol(_))) => {
            worker.recorder.emit(&Event::ConnectionRefused {
                address: peer,
                reason: "protocol",
            });
            return;
        }
        Ok(Err(Error::Tls(error))) => {
            tracing::debug!(%error, "no encryption");
            worker.recorder.emit(&Event::ConnectionRefused {
                address: peer,
                reason: "tls",
            });
            return;
        }
        // Somebody looked whether the port is open.
        Ok(Err(Error::Io(_))) => return,
        Err(_) => {
            worker.recorder.emit(&Event::ConnectionRefused {
                address: peer,
                reason: "timeout",
            });
            return;
        }
    };
    if let Err(error) = gate::serve(arrival, worker, &backends).await {
        tracing::debug!(%error, "session ended");
    }
}

fn reason(code: &str) -> &'static str {
    match code {
        "28P01" => "password",
        "3D000" => "unknown-database",
        "08P01" => "protocol",
        _ => "not-allowed",
    }
}

//! Logging in to the server that is wanted, of those there are.
//!
//! Nothing here repeats a statement: a host is left before the link that leads
//! to it was given to anybody.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::hosts::Spot;
use super::link::Link;
use super::login::{Target, login_at};
use crate::config::Wanted;
use crate::wire::postgres::encode;
use crate::wire::postgres::frame::server;
use crate::wire::postgres::message;
use tokio::io::AsyncWriteExt;

/// Time a server has to say what part it plays.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects and logs in with these start-up parameters, at the first host that
/// can be reached and plays the part that is wanted.
pub async fn login(target: &Target, parameters: &[(String, String)]) -> Result<Link, Error> {
    match target.hosts.wanted() {
        Wanted::PreferStandby => {
            match attempt(target, parameters, Wanted::Standby).await {
                Ok(link) => Ok(link),
                // Whoever has no standby takes what there is.
                Err(_) => attempt(target, parameters, Wanted::Any).await,
            }
        }
        wanted => attempt(target, parameters, wanted).await,
    }
}

/// One round over all hosts and addresses.
async fn attempt(
    target: &Target,
    parameters: &[(String, String)],
    wanted: Wanted,
) -> Result<Link, Error> {
    let mut last = None;
    for host in target.hosts.order() {
        let spots = match target.hosts.spots(host).await {
            Ok(spots) => spots,
            Err(error) => {
                target.hosts.note_failure(host);
                last = Some(error);
                continue;
            }
        };
        for spot in &spots {
            match at(target, spot, parameters, wanted).await {
                Ok(link) => {
                    target.hosts.note_good(host);
                    return Ok(link);
                }
                // Somebody is there and says no: others would say the same.
                Err(error) if !elsewhere_may_work(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!(address = &*spot.address, port = spot.port, %error, "no login there");
                    // What a server says about itself outlasts what the next one does not say.
                    last = match (last, error) {
                        (
                            Some(told @ (Error::Refused(_) | Error::Unwanted(_))),
                            Error::Connect(_) | Error::Io(_),
                        ) => Some(told),
                        (_, error) => Some(error),
                    };
                }
            }
        }
        // A single host is paced by the pool.
        target.hosts.note_failure(host);
    }
    Err(last.unwrap_or(Error::Unwanted(wanted.name())))
}

async fn at(
    target: &Target,
    spot: &Spot,
    parameters: &[(String, String)],
    wanted: Wanted,
) -> Result<Link, Error> {
    let mut link = login_at(target, spot, parameters).await?;
    if wanted == Wanted::Any {
        return Ok(link);
    }
    let part = tokio::time::timeout(ASK_TIMEOUT, Part::of(&mut link)).await;
    let part = part.map_err(|_| Error::Connect(std::io::ErrorKind::TimedOut.into()))??;
    if part.is(wanted) {
        return Ok(link);
    }
    let mut goodbye = bytes::BytesMut::new();
    encode::terminate(&mut goodbye);
    let _ = link.socket.write_all(&goodbye).await;
    Err(Error::Unwanted(wanted.name()))
}

/// Whether another server may let us in: this one cannot be reached, is just
/// starting or stopping (57P03), is full (53300), or plays another part.
fn elsewhere_may_work(error: &Error) -> bool {
    match error {
        Error::Connect(_) | Error::Io(_) | Error::Unwanted(_) | Error::Tls(_) => true,
        Error::Refused(report) => matches!(report.code.as_str(), "57P03" | "53300"),
        _ => false,
    }
}

/// What part a server plays.
#[derive(Debug, Clone, Copy)]
struct Part {
    standby: bool,
    read_only: bool,
}

impl Part {
    /// As reported since PostgreSQL 14, and asked before.
    async fn of(link: &mut Link) -> Result<Part, Error> {
        let reported = |name| link.about.parameter(name).map(|value| value == "on");
        if let (Some(standby), Some(read_only)) = (
            reported("in_hot_standby"),
            reported("default_transaction_read_only"),
        ) {
            return Ok(Part { standby, read_only });
        }
        let text = "SELECT pg_catalog.pg_is_in_recovery(), \
                    pg_catalog.current_setting('transaction_read_only')";
        encode::query(&mut link.outbox, text);
        link.socket.write_all_buf(&mut link.outbox).await?;
        link.socket.flush().await?;
        let mut part = None;
        loop {
            let (tag, body) = link.read_frame().await?;
            match tag {
                server::DATA_ROW => {
                    let row = message::data_row(&body)?;
                    let on = |at: usize| matches!(row.get(at), Some(Some(b"t" | b"on")));
                    part = Some(Part {
                        standby: on(0),
                        read_only: on(1),
                    });
                }
                server::READY => {
                    (link.inbox, link.outbox) = Default::default();
                    let silent = || Error::Protocol("the server does not say what it is".into());
                    return part.ok_or_else(silent);
                }
                _ => {}
            }
        }
    }

    fn is(self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Any | Wanted::PreferStandby => true,
            Wanted::ReadWrite => !self.standby && !self.read_only,
            Wanted::ReadOnly => self.standby || self.read_only,
            Wanted::Primary => !self.standby,
            Wanted::Standby => self.standby,
        }
    }
}

/// Whether the server of a link still plays the part that is wanted.
pub(super) async fn is_still_wanted(target: &Target, address: &Arc<str>) -> bool {
    for host in target.hosts.order() {
        let spots = target.hosts.spots(host).await.unwrap_or_default();
        for spot in spots.iter().filter(|spot| spot.address == *address) {
            let asked = at(target, spot, &[], target.hosts.wanted()).await;
            if matches!(asked, Err(Error::Unwanted(_))) {
                target.hosts.note_failure(host);
                return false;
            }
        }
    }
    true
}

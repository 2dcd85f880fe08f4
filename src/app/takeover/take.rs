//! The side of the gate that comes.

use std::time::Duration;

use tokio::time::timeout;

use super::{Offer, Ready, TAKEOVER};
use crate::app::manager::Tie;
use crate::control::{self, Error, Line, Place, Reply, Request};
use crate::net::passing::Passed;

/// Time in which the old gate must answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The gate that serves until we say that we could.
pub(in crate::app) struct Predecessor {
    line: Line,
    process: String,
}

impl Predecessor {
    /// Asks the gate that serves for its sockets.
    pub(in crate::app) async fn ask(
        place: &Place,
    ) -> Result<(Predecessor, Vec<Passed>, Option<Tie>), Error> {
        let asking = Self::ask_patiently(place);
        let asked = timeout(PATIENCE, asking).await;
        asked.unwrap_or(Err(Error::Slow(PATIENCE)))
    }

    async fn ask_patiently(
        place: &Place,
    ) -> Result<(Predecessor, Vec<Passed>, Option<Tie>), Error> {
        let socket = place.current();
        let (mut line, gate) = control::connect(&socket).await?;
        // Root too: a socket of somebody else's is nothing to serve clients on.
        if !gate.is_own_user() {
            return Err(Error::Stranger(socket));
        }
        line.send(&Request::new(TAKEOVER, serde_json::Value::Null))
            .await?;
        let (reply, sockets) = line.receive_sockets::<Reply>().await?;
        let offer: Offer = serde_json::from_value(reply.into_result()?)
            .map_err(|error| Error::Protocol(error.to_string()))?;
        if offer.sockets.len() != sockets.len() {
            let (named, came) = (offer.sockets.len(), sockets.len());
            let why = format!("{named} sockets were named, and {came} came");
            return Err(Error::Protocol(why));
        }
        let passed = offer.sockets.into_iter().zip(sockets);
        let passed = passed.map(|(label, socket)| Passed { label, socket });
        let predecessor = Predecessor {
            line,
            process: offer.process,
        };
        Ok((predecessor, passed.collect(), offer.manager))
    }

    /// Says that we could serve on these sockets now, and returns when the old
    /// gate lets nobody in any more. An error: it does, and we must not.
    pub(in crate::app) async fn relieve(mut self, taken: Vec<usize>) -> Result<(), Error> {
        let process = &self.process;
        self.line.send(&Ready { taken }).await?;
        match timeout(PATIENCE, self.line.receive::<Reply>()).await {
            Ok(Ok(reply)) => {
                reply.into_result()?;
                tracing::info!(process, "the gate before lets nobody in any more");
            }
            // It had our word, and it is dead or hangs: clients need somebody now.
            Ok(Err(error)) => {
                tracing::warn!(process, %error, "the gate before ended while we took over");
            }
            Err(_) => {
                tracing::warn!(
                    process,
                    "the gate before does not answer while we take over"
                );
            }
        }
        Ok(())
    }
}

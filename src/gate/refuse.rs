//! Saying no so that both sides agree.
//!
//! The server is made to fail at the very place where the refused request
//! would have been, and its error is replaced by the refusal. So the order of
//! answers, the skipping up to Sync, the fate of the transaction and the
//! silence after an earlier error are the server's own.

use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::expected::Expected;
use super::session::Session;
use crate::model::{Refusal, UserFacing, UserMessage};
use crate::policy::{Permit, Refused};
use crate::wire::postgres::encode;
use crate::wire::postgres::places::Places;

/// A statement name that is never prepared.
const NOWHERE: &[u8] = b"portcullis_refused_this_statement";

/// A refusal as it goes to the client, with its incident id.
pub(super) fn message(refusal: &Refusal, incident: &str) -> Rc<BytesMut> {
    message_of(refusal, incident, &Places::default())
}

/// The same, and a disguise is that of a server that says it at these places.
fn message_of(refusal: &Refusal, incident: &str, places: &Places) -> Rc<BytesMut> {
    let mut out = BytesMut::new();
    match &refusal.disguise {
        // Nothing may tell it from the server's own answer.
        Some(missing) => {
            // Bytes and characters are the same up to a name that is not in the text yet.
            let position = missing.position.map(|at| at + 1);
            encode::undefined_relation(&mut out, places, missing.noun, &missing.name, position);
        }
        None => {
            let mut message = refusal.user_message();
            if !message.detail.is_empty() {
                let stop = if message.detail.ends_with('.') {
                    " "
                } else {
                    ". "
                };
                message.detail.push_str(stop);
            }
            message.detail.push_str(&format!("Incident {incident}."));
            encode::error(&mut out, &message);
        }
    }
    Rc::new(out)
}

/// An ErrorResponse body, said as the end of the connection.
pub(super) fn fatal(out: &mut BytesMut, body: &[u8]) {
    let report = crate::wire::postgres::report::Report::read(body);
    let message = UserMessage {
        detail: report.detail.clone(),
        hint: report.hint.clone(),
        ..UserMessage::fatal("08006", "").with_server(&report)
    };
    encode::error(out, &message);
}

/// A refusal by the gate's own rules.
pub(super) fn by_gate(refusal: Refusal) -> Refused {
    Refused::gate(refusal)
}

/// A refusal by the host, because a requirement of this permit does not hold.
pub(super) fn by_host(refusal: Refusal, permit: &Permit) -> Refused {
    Refused {
        refusal,
        verdict: permit.shared_verdict().clone(),
        monitored: permit.monitored().cloned(),
        faults: Vec::new(),
        remembered: permit.remembered(),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A refusal as it goes to the client, in the words of this server.
    pub(super) fn say(&self, refusal: &Refusal, incident: &str) -> Rc<BytesMut> {
        message_of(refusal, incident, &self.catalog.places())
    }

    /// A new incident id.
    pub(super) fn incident(&self) -> String {
        self.worker.recorder.incident()
    }

    /// Refuses an extended-protocol message with these bytes.
    pub(super) fn refuse_pipelined(&mut self, error: Rc<BytesMut>) {
        encode::bind_plain(&mut self.up, b"", NOWHERE);
        self.queue.push(Expected::Refusal(error));
        self.discard = true;
    }

    /// Refuses a Query or FunctionCall with these bytes.
    pub(super) fn refuse_query(&mut self, error: Rc<BytesMut>) {
        if std::mem::take(&mut self.own_block) {
            // What stands before it in the pipeline goes as well, as with any error.
            self.write_simple("ROLLBACK");
        }
        encode::query(&mut self.up, "portcullis refused this statement");
        self.queue.push(Expected::RefusalQuery(error));
    }

    /// A prepared statement that is not there.
    pub(super) fn refuse_no_statement(&mut self, name: &[u8]) {
        let text = if name.is_empty() {
            "unnamed prepared statement does not exist".to_owned()
        } else {
            let name = String::from_utf8_lossy(name);
            format!("prepared statement \"{name}\" does not exist")
        };
        self.refuse_unknown("26000", text);
    }

    /// An error in the server's own words, for a name that is not there.
    pub(super) fn refuse_unknown(&mut self, code: &'static str, text: String) {
        self.refuse_pipelined(plain(code, text));
    }
}

/// An error in the server's own words.
pub(super) fn plain(code: &'static str, text: String) -> Rc<BytesMut> {
    let mut out = BytesMut::new();
    encode::error(&mut out, &UserMessage::error(code, text));
    Rc::new(out)
}

//! Text from a client: read as the server will read it, or not at all.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::nanos;
use super::session::Session;
use crate::model::facts::{Control, Handle};
use crate::model::{Analysis, Dialect, Facts, Problem};
use crate::sql::{self, Lexer};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Stage one, and the nanoseconds it took; none for a text that is known.
    pub(super) fn analyze(&self, bytes: &[u8]) -> (Arc<Analysis>, u64) {
        let lexer = Lexer {
            dialect: Dialect::Postgres,
            standard_strings: self.facts.standard_strings,
            ..Lexer::POSTGRES
        };
        if self.unsure && (bytes.contains(&b'\\') || !bytes.is_ascii()) {
            return (Arc::new(unreadable(bytes, UNSURE)), 0);
        }
        let text = std::str::from_utf8(bytes);
        if let (Ok(text), false) = (text, self.unsafe_encoding)
            && let Some(known) = self.worker.analyses.borrow_mut().find(text, lexer)
        {
            return (known, 0);
        }
        let started = Instant::now();
        let analysis = match text {
            Ok(text) if !self.unsafe_encoding => {
                self.worker.analyses.borrow_mut().read(text, lexer)
            }
            Err(_) if self.single_byte => {
                // Every byte is one character; which one does not matter to the lexer.
                let text: String = bytes.iter().map(|b| char::from(*b)).collect();
                Arc::new(sql::analyze(&text, lexer))
            }
            _ if self.unsafe_encoding => Arc::new(unreadable(bytes, UNSAFE)),
            _ => Arc::new(unreadable(bytes, INVALID)),
        };
        (analysis, nanos(started))
    }

    /// How text is read may be another behind a setting of that kind, and behind
    /// the end of a transaction that has one.
    pub(super) fn note_reading(&mut self, facts: &Facts) {
        let moves = |name: &str| {
            let plain = ["standard_conforming_strings", "client_encoding"];
            name == "*" || plain.contains(&name)
        };
        if facts.settings.iter().any(|setting| moves(&setting.name))
            || matches!(facts.handle, Some(Handle::DiscardAll))
        {
            self.unsure = true;
            self.reading_moved = true;
        }
        let ends = !matches!(
            facts.control,
            None | Some(Control::Begin | Control::Savepoint(_) | Control::Release(_))
        );
        self.unsure |= ends && self.reading_moved;
    }
}

const UNSAFE: &str =
    "the client_encoding of this session is not safe to read; set it to UTF8 when connecting";
const INVALID: &str = "the text is not valid in the client_encoding of this session";
/// The server reports how it reads text only with ReadyForQuery.
const UNSURE: &str = "what was run before in this pipeline may have changed how this text is read; \
                      send Sync first";

fn unreadable(bytes: &[u8], why: &str) -> Analysis {
    let text = String::from_utf8_lossy(bytes).into_owned();
    // The same shape as any text that cannot be read, with the reason that is true.
    let mut analysis = sql::analyze("\u{0}", Lexer::POSTGRES);
    analysis.text = text.into();
    analysis.problem = Some(Problem::Encoding(why.into()));
    analysis
}

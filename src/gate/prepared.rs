//! Prepared statements that follow their client from link to link.
//!
//! A client's names are its own; on the servers the gate uses names of its
//! own, one for each text with its types in its world, so that clients that
//! prepare the same text share one statement. What a link does not know yet is
//! parsed there in front of the message that needs it; if that fails, the
//! error comes where the client expects an answer to its message.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::expected::{Expected, Undo};
use super::known::World;
use super::names::Prepared;
use super::roster::add;
use super::session::Session;
use crate::model::Statement;
use crate::model::facts::Handle;
use crate::sql;
use crate::wire::postgres::frame::server;
use crate::wire::postgres::{encode, report};

/// ParseComplete, for a statement the server knows already.
const PARSE_COMPLETE: &[u8] = &[server::PARSE_COMPLETE, 0, 0, 0, 4];
/// CloseComplete, for a name that only the gate forgets.
const CLOSE_COMPLETE: &[u8] = &[server::CLOSE_COMPLETE, 0, 0, 0, 4];

/// Texts between two sweeps of statements nobody holds any more.
const SWEEP: usize = 1024;

/// A statement as servers know it.
pub(super) struct Shared {
    /// Unique in the process.
    pub(super) number: u64,
    /// Its name on servers.
    pub(super) name: Box<[u8]>,
    /// The text.
    text: Box<[u8]>,
    /// Declared parameter types.
    types: Box<[u32]>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    text: Box<[u8]>,
    types: Box<[u32]>,
    /// The text means something else under another path, role or catalog.
    path: Option<Arc<[Arc<str>]>>,
    role: Arc<str>,
    epoch: u64,
    catalog: usize,
    /// And where text is read otherwise.
    lexing: u8,
    encoding: Option<Arc<str>>,
}

/// All shared statements of a worker.
#[derive(Default)]
pub struct Statements {
    known: HashMap<Key, Weak<Shared>>,
}

impl Statements {
    fn get(
        &mut self,
        text: &[u8],
        types: &[u32],
        world: &World,
        lexing: (u8, Option<Arc<str>>),
        number: impl FnOnce() -> u64,
    ) -> Rc<Shared> {
        let key = Key {
            text: text.into(),
            types: types.into(),
            path: world.search_path.clone(),
            role: world.role.clone(),
            epoch: world.epoch,
            catalog: world.catalog.as_ptr() as usize,
            lexing: lexing.0,
            encoding: lexing.1,
        };
        // While definitions change, a statement that servers know may have been
        // planned for other ones: a new one is not.
        if !world.pending
            && let Some(known) = self.known.get(&key).and_then(Weak::upgrade)
        {
            return known;
        }
        if self.known.len() % SWEEP == SWEEP - 1 {
            self.known.retain(|_, shared| shared.strong_count() > 0);
        }
        let number = number();
        let shared = Rc::new(Shared {
            number,
            name: server_name(number),
            text: text.into(),
            types: types.into(),
        });
        self.known.insert(key, Rc::downgrade(&shared));
        shared
    }
}

/// How names of shared statements begin on servers.
const PREFIX: &str = "portcullis_";

/// Name of a shared statement on servers.
fn server_name(number: u64) -> Box<[u8]> {
    format!("{PREFIX}{number}").into_bytes().into()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// The statement servers know for a named Parse of this session.
    pub(super) fn share(&self, text: &[u8], types: &[u32]) -> Rc<Shared> {
        let world = self.world();
        let mut statements = self.worker.statements.borrow_mut();
        let number = || self.home.pool().next_statement();
        let encoding = self
            .reported
            .iter()
            .find(|(name, _)| &**name == "client_encoding");
        let lexing = (self.lexing(), encoding.map(|(_, value)| value.clone()));
        statements.get(text, types, &world, lexing, number)
    }

    /// A Parse of a shared statement: sent only where the link does not know it.
    pub(super) fn parse_shared(&mut self, shared: &Rc<Shared>, undo: Undo) {
        let failed = self.facts.transaction == crate::model::TransactionState::Failed;
        if self.link_knows(shared) {
            if !failed {
                self.queue.push(Expected::Given(PARSE_COMPLETE, Some(undo)));
                return;
            }
            // The server must say itself that the transaction has failed; what ends
            // it would be told that the name is taken.
            encode::close(&mut self.up, b'S', &shared.name);
            self.queue.push(Expected::Evict(shared.number));
            self.forget_on_link(shared.number);
        }
        self.write_parse(shared);
        self.queue.push(Expected::Parse(undo, Some(shared.number)));
    }

    /// A close that only the gate carries out: others may use the statement.
    pub(super) fn close_shared(&mut self, undo: Undo) {
        self.queue.push(Expected::Given(CLOSE_COMPLETE, Some(undo)));
    }

    /// Makes sure that the link knows what a Bind or Describe names; gives what
    /// it is there where the name is another one.
    pub(super) fn ready_on_link(&mut self, name: &[u8], prepared: &Prepared) -> Option<Rc<Shared>> {
        if !self.home.is_shared() {
            self.restate(name, prepared);
            return None;
        }
        match &prepared.shared {
            Some(shared) => {
                if !self.link_knows(shared) {
                    self.write_parse(shared);
                    self.queue.push(Expected::Reparse(Some(shared.number)));
                }
                Some(shared.clone())
            }
            None if name.is_empty() && !self.unnamed_here => {
                let text = prepared.analysis.text.clone();
                encode::parse(&mut self.up, b"", text.as_bytes(), &prepared.types);
                self.queue.push(Expected::Reparse(None));
                self.unnamed_here = true;
                None
            }
            None => None,
        }
    }

    /// On a link of the session's own names are the client's. Code may have given
    /// one to another statement: then the server is told once more what it means.
    fn restate(&mut self, name: &[u8], prepared: &Prepared) {
        if prepared.epoch.replace(self.names_epoch) == self.names_epoch || name.is_empty() {
            return;
        }
        let text = prepared.analysis.text.clone();
        encode::close(&mut self.up, b'S', name);
        self.queue.push(Expected::Close(None));
        encode::parse(&mut self.up, name, text.as_bytes(), &prepared.types);
        self.queue.push(Expected::Restate);
    }

    /// A statement goes to the server that may change what names mean: whatever
    /// is sent behind it says again what it means.
    pub(super) fn note_names(&mut self, statement: &Statement) {
        let target = self.behind(&statement.facts);
        let mut all = std::iter::once(statement).chain(target.as_deref());
        if !all.any(|statement| self.traces_of(statement).names) {
            return;
        }
        self.names_epoch += 1;
        self.names.close_cursor(None);
        if let Some(loan) = self.loan.as_mut() {
            loan.link.server.prepared.clear();
            loan.link.server.uncertain = true;
        }
    }

    fn link_knows(&mut self, shared: &Shared) -> bool {
        let loan = self.loan.as_mut();
        loan.is_some_and(|loan| loan.link.server.prepared.knows(shared.number))
    }

    fn write_parse(&mut self, shared: &Shared) {
        add(&self.presence.tally.server_parses, 1);
        let max = self.home.prepared_max();
        let Some(loan) = self.loan.as_mut() else {
            return;
        };
        let uncertain = loan.link.server.uncertain;
        if let Some(victim) = loan.link.server.prepared.add(shared.number, max) {
            encode::close(&mut self.up, b'S', &server_name(victim));
            self.queue.push(Expected::Evict(victim));
        }
        if uncertain {
            // Closing a name that is not there is no error; preparing one that is there is.
            encode::close(&mut self.up, b'S', &shared.name);
            self.queue.push(Expected::Close(None));
        }
        encode::parse(&mut self.up, &shared.name, &shared.text, &shared.types);
    }

    /// How text is read now, as one number.
    pub(super) fn lexing(&self) -> u8 {
        u8::from(self.facts.standard_strings)
            | u8::from(self.single_byte) << 1
            | u8::from(self.unsafe_encoding) << 2
    }

    /// What would be sent to the server once more, and be read otherwise than it
    /// was judged: an error instead.
    pub(super) fn reads_otherwise(&self, prepared: &Prepared) -> Option<String> {
        if !self.home.is_shared() && prepared.epoch.get() == self.names_epoch {
            // The server has it as it was read, and is not told again.
            return None;
        }
        let changed = match self.unsure {
            true => u8::MAX,
            false => prepared.lexing ^ self.lexing(),
        };
        let text = &prepared.analysis.text;
        let otherwise =
            (changed & 1 != 0 && text.contains('\\')) || (changed >> 1 != 0 && !text.is_ascii());
        otherwise.then(|| {
            "the statement would be read otherwise under the present settings; prepare it again"
                .to_owned()
        })
    }

    /// An error frame of the server in the names of the client; none where it has no others.
    pub(super) fn in_own_names(&self, body: &[u8]) -> Option<BytesMut> {
        if !self.home.is_shared() || memchr::memmem::find(body, PREFIX.as_bytes()).is_none() {
            return None;
        }
        let mut out = BytesMut::new();
        report::copy_renamed(&mut out, body, PREFIX.as_bytes(), |number| {
            self.names.name_of(number)
        });
        Some(out)
    }

    /// The server does not run a statement any more that was planned for other
    /// definitions. The client may prepare it anew, and then means the new ones.
    pub(super) fn note_outdated(&mut self, body: &[u8]) {
        let mut fields = report::fields(body);
        if self.home.is_shared() && fields.any(|field| field == (b'R', b"RevalidateCachedQuery")) {
            let mut statements = self.worker.statements.borrow_mut();
            let outdated: Vec<u64> = self.names.shared_numbers().collect();
            statements.known.retain(|_, shared| {
                let known = shared.upgrade();
                known.is_some_and(|shared| !outdated.contains(&shared.number))
            });
        }
    }

    /// SQL that names a prepared statement as the server must not be asked to
    /// understand it, and the error the server would give if it knew the
    /// client's names: PREPARE of a name that Parse has taken, and any use of a
    /// name that the gate gives, on whose statements clients have no claim.
    pub(super) fn misuses_name(
        &self,
        statements: &[Arc<Statement>],
    ) -> Option<(&'static str, String)> {
        statements.iter().find_map(|statement| {
            let (name, prepares) = match statement.facts.handle.as_ref()? {
                Handle::Prepare(name, _) => (name, true),
                Handle::Execute(name) | Handle::Deallocate(Some(name)) => (name, false),
                _ => return None,
            };
            let known = self.names.prepared(name.as_bytes());
            let parsed = known.is_some_and(|known| known.shared.is_some());
            let reserved = self.home.is_shared() && name.starts_with(PREFIX);
            let exists = format!("prepared statement \"{name}\" already exists");
            let missing = format!("prepared statement \"{name}\" does not exist");
            if let (false, Some(text)) = (prepares, known.and_then(|k| self.reads_otherwise(k))) {
                return Some(("0A000", text));
            }
            match prepares {
                true if parsed && statements.len() == 1 => Some(("42P05", exists)),
                true if reserved => Some(("42P05", exists)),
                false if reserved && !parsed => Some(("26000", missing)),
                _ => None,
            }
        })
    }

    /// The link no longer knows it, or never came to know it.
    pub(super) fn forget_on_link(&mut self, number: u64) {
        if let Some(loan) = self.loan.as_mut() {
            loan.link.server.prepared.remove(number);
        }
    }

    /// The link still knows it.
    pub(super) fn remember_on_link(&mut self, number: u64) {
        if let Some(loan) = self.loan.as_mut() {
            loan.link.server.prepared.add(number, usize::MAX);
        }
    }

    /// The text with the names that EXECUTE and DEALLOCATE use as the server
    /// knows them; none where nothing is to be changed.
    pub(super) fn renamed(&mut self, text: &str, statements: &[Arc<Statement>]) -> Option<String> {
        let mut out: Option<String> = None;
        for statement in statements.iter().rev() {
            let name = match &statement.facts.handle {
                Some(Handle::Execute(name) | Handle::Deallocate(Some(name))) => name.clone(),
                _ => continue,
            };
            let Some(prepared) = self.names.prepared(name.as_bytes()).cloned() else {
                continue;
            };
            if !self.home.is_shared() {
                if matches!(statement.facts.handle, Some(Handle::Execute(_))) {
                    self.restate(name.as_bytes(), &prepared);
                }
                continue;
            }
            if prepared.shared.is_none() {
                continue;
            }
            let Some(span) = sql::handle_span(statement) else {
                continue;
            };
            let Some(shared) = self.ready_on_link(name.as_bytes(), &prepared) else {
                continue;
            };
            let server = String::from_utf8_lossy(&shared.name).into_owned();
            let base = statement.span.start;
            out.get_or_insert_with(|| text.to_owned())
                .replace_range(base + span.start..base + span.end, &server);
        }
        out
    }

    /// A Query frame with another text.
    pub(super) fn query_frame(text: &str) -> BytesMut {
        let mut frame = BytesMut::new();
        encode::frame(&mut frame, b'Q', |out| {
            out.put_slice(text.as_bytes());
            out.put_u8(0);
        });
        frame
    }
}

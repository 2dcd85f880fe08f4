//! What a policy looked at while it judged: the key under which its verdict may be remembered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bitflags::bitflags;

use super::setup::{Names, Networks};
use super::subject::{View, has_user};
use super::values;
use crate::model::{TransactionState, ValueFeatures};

bitflags! {
    /// Classes of input.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ReadClass: u32 {
        /// The statement with literals masked; always in the key.
        const SHAPE = 1;
        /// Who is connected.
        const IDENTITY = 1 << 1;
        /// State of the session.
        const SESSION = 1 << 2;
        /// Constants in the text.
        const LITERALS = 1 << 3;
        /// Bind values.
        const PARAMETERS = 1 << 4;
        /// The time.
        const CLOCK = 1 << 5;
        /// Host counters.
        const COUNTERS = 1 << 6;
        /// The plan.
        const PLAN = 1 << 7;
    }
}

impl ReadClass {
    /// Literals and bind values.
    pub const VALUES: ReadClass = ReadClass::LITERALS.union(ReadClass::PARAMETERS);
}

/// One property that was asked, with its argument and its answer.
///
/// Questions with small answers are kept by the answer, so that a thousand
/// addresses in one network share one verdict.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// The user's name.
    User(Arc<str>),
    /// The database's name.
    Database(Arc<str>),
    /// Which pattern matches the user.
    UserIn(Arc<Names>, Option<u32>),
    /// Which network holds the address.
    AddressIn(Arc<Networks>, Option<u32>),
    /// The address itself.
    Address(Option<IpAddr>),
    /// The current role.
    Role(Arc<str>),
    /// application_name.
    Application(Arc<str>),
    /// Transaction state.
    Transaction(TransactionState),
    /// A setting by name.
    Setting(Arc<str>, Option<Arc<str>>),
    /// The search path; the role too, where the path says `$user`.
    SearchPath(Option<Arc<[Arc<str>]>>, Option<Arc<str>>),
    /// Features of all values together.
    Features(ValueFeatures),
    /// Which pattern stands as a word in a value.
    Mentions(Arc<Names>, Option<u32>),
    /// The clock, in a question whose answer holds until then.
    Until(SystemTime),
    /// Something with too many answers to remember any.
    Unrepeatable(ReadClass),
}

impl Read {
    /// Class of the property.
    pub fn class(&self) -> ReadClass {
        match self {
            Read::User(_)
            | Read::Database(_)
            | Read::UserIn(..)
            | Read::AddressIn(..)
            | Read::Address(_) => ReadClass::IDENTITY,
            Read::Role(_)
            | Read::Application(_)
            | Read::Transaction(_)
            | Read::Setting(..)
            | Read::SearchPath(..) => ReadClass::SESSION,
            Read::Features(_) | Read::Mentions(..) => ReadClass::VALUES,
            Read::Until(_) => ReadClass::CLOCK,
            Read::Unrepeatable(class) => *class,
        }
    }

    /// Whether asking again now would give the same answer.
    pub fn holds(&self, view: &View<'_>) -> bool {
        match self {
            Read::User(user) => same(user, &view.client.user),
            Read::Database(database) => same(database, &view.client.database),
            Read::UserIn(names, answer) => names.find_plain(&view.client.user) == *answer,
            Read::AddressIn(networks, answer) => networks.find(view.client.address) == *answer,
            Read::Address(address) => *address == view.client.address,
            Read::Role(role) => same(role, &view.session.role),
            Read::Application(application) => same(application, &view.session.application),
            Read::Transaction(state) => *state == view.session.transaction,
            Read::Setting(name, value) => setting(view, name).map(|v| &**v) == value.as_deref(),
            Read::SearchPath(path, role) => {
                same_path(path.as_ref(), view.session.search_path.as_ref())
                    && role
                        .as_ref()
                        .is_none_or(|role| same(role, &view.session.role))
            }
            Read::Features(features) => values::features(view) == *features,
            Read::Mentions(names, answer) => values::mentions(view, names) == *answer,
            Read::Until(edge) => view.now() < *edge,
            Read::Unrepeatable(_) => false,
        }
    }
}

/// The search path as a read.
pub(super) fn search_path(view: &View<'_>) -> Read {
    let path = view.session.search_path.clone();
    let role = path
        .as_deref()
        .filter(|path| has_user(path))
        .map(|_| view.session.role.clone());
    Read::SearchPath(path, role)
}

/// A tracked setting; `name` is lower case.
pub(super) fn setting<'v>(view: &View<'v>, name: &str) -> Option<&'v Arc<str>> {
    view.session
        .settings
        .iter()
        .find(|(known, _)| &**known == name)
        .map(|(_, value)| value)
}

fn same(a: &Arc<str>, b: &Arc<str>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn same_path(a: Option<&Arc<[Arc<str>]>>, b: Option<&Arc<[Arc<str>]>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        (None, None) => true,
        _ => false,
    }
}

/// Most reads kept of one run; a policy that asks more is not worth remembering.
const READS_MAX: usize = 64;

/// The reads of one run, or of a whole chain.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reads {
    classes: ReadClass,
    list: Vec<Read>,
}

impl Reads {
    /// Notes that the shape was asked.
    pub fn shape(&mut self) {
        self.classes |= ReadClass::SHAPE;
    }

    /// Notes one read; the same one is kept once.
    pub fn note(&mut self, read: Read) {
        self.classes |= read.class();
        if self.list.contains(&read) {
            return;
        }
        if self.list.len() < READS_MAX {
            self.list.push(read);
        } else if let Some(last) = self.list.last_mut() {
            *last = Read::Unrepeatable(read.class());
        }
    }

    /// Adds the reads of another run.
    pub fn join(&mut self, other: &Reads) {
        self.classes |= other.classes;
        for read in &other.list {
            self.note(read.clone());
        }
    }

    /// Every class that was read.
    pub fn classes(&self) -> ReadClass {
        self.classes
    }

    /// Whether a verdict made of these may be remembered.
    pub fn rememberable(&self) -> bool {
        !self
            .list
            .iter()
            .any(|read| matches!(read, Read::Unrepeatable(_)))
    }

    /// Whether every answer would be the same now.
    pub fn hold(&self, view: &View<'_>) -> bool {
        self.list.iter().all(|read| read.holds(view))
    }

    /// The reads beyond the shape.
    pub fn list(&self) -> &[Read] {
        &self.list
    }

    /// The moment after which an answer about the clock may differ.
    pub fn until(&self) -> Option<SystemTime> {
        let edge = |read: &Read| match read {
            Read::Until(edge) => Some(*edge),
            _ => None,
        };
        self.list.iter().filter_map(edge).min()
    }
}

//! What a rate cell belongs to.

use std::net::IpAddr;

use crate::model::{Client, Kind, SessionFacts};

/// Dimension bits of `RequirementKind::Rate::by`.
mod by {
    pub(super) const USER: u64 = 1;
    pub(super) const ADDRESS: u64 = 2;
    pub(super) const APPLICATION: u64 = 4;
    pub(super) const DATABASE: u64 = 8;
    pub(super) const CLASS: u64 = 16;
    pub(super) const ALL: u64 = USER | ADDRESS | APPLICATION | DATABASE | CLASS;
}

/// Coarse class of a statement, the dimension `class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    Read,
    Write,
    Schema,
    Control,
    Other,
}

impl Class {
    pub(super) fn of(kind: Kind) -> Class {
        match kind {
            Kind::Select | Kind::Explain | Kind::Declare | Kind::Fetch | Kind::Show => Class::Read,
            Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::Merge
            | Kind::Truncate
            | Kind::Copy => Class::Write,
            Kind::Create
            | Kind::Alter
            | Kind::Drop
            | Kind::Grant
            | Kind::Revoke
            | Kind::Comment
            | Kind::Refresh
            | Kind::Maintain
            | Kind::Load => Class::Schema,
            Kind::Begin
            | Kind::Commit
            | Kind::Rollback
            | Kind::Savepoint
            | Kind::TwoPhase
            | Kind::Set
            | Kind::Reset
            | Kind::Discard
            | Kind::Prepare
            | Kind::Deallocate
            | Kind::Close
            | Kind::Empty => Class::Control,
            _ => Class::Other,
        }
    }
}

/// A key as the statement brings it, without owning anything.
#[derive(Hash, Clone, Copy)]
pub(super) struct KeyRef<'a> {
    database: &'a str,
    policy: &'a str,
    bucket: &'a str,
    by: u64,
    user: &'a str,
    address: Option<IpAddr>,
    application: &'a str,
    class: Option<Class>,
    overflow: bool,
}

/// The same, kept.
pub(super) struct Key {
    database: Box<str>,
    policy: Box<str>,
    bucket: Box<str>,
    by: u64,
    user: Box<str>,
    address: Option<IpAddr>,
    application: Box<str>,
    class: Option<Class>,
    overflow: bool,
}

impl KeyRef<'_> {
    pub(super) fn is(&self, key: &Key) -> bool {
        self.by == key.by
            && self.class == key.class
            && self.overflow == key.overflow
            && self.address == key.address
            && *self.user == *key.user
            && *self.application == *key.application
            && *self.bucket == *key.bucket
            && *self.policy == *key.policy
            && *self.database == *key.database
    }

    pub(super) fn keep(&self) -> Key {
        Key {
            database: self.database.into(),
            policy: self.policy.into(),
            bucket: self.bucket.into(),
            by: self.by,
            user: self.user.into(),
            address: self.address,
            application: self.application.into(),
            class: self.class,
            overflow: self.overflow,
        }
    }

    pub(super) fn hash(&self) -> u64 {
        use std::hash::BuildHasher;
        // Keys are chosen by clients: a keyed hash, so that nobody can aim at one shard.
        static STATE: std::sync::LazyLock<std::hash::RandomState> =
            std::sync::LazyLock::new(std::hash::RandomState::new);
        STATE.hash_one(self)
    }

    /// The cell shared by all keys of the bucket that found no room.
    pub(super) fn shared(&self) -> KeyRef<'_> {
        KeyRef {
            user: "",
            address: None,
            application: "",
            class: None,
            overflow: true,
            ..*self
        }
    }
}

/// Who asks, and for what kind of statement.
pub(super) struct Asked<'a> {
    pub(super) client: &'a Client,
    pub(super) session: &'a SessionFacts,
    pub(super) kind: Kind,
    pub(super) database: &'a str,
}

impl<'a> Asked<'a> {
    pub(super) fn key(&self, policy: &'a str, bucket: &'a str, dimensions: u64) -> KeyRef<'a> {
        let has = |bit: u64| dimensions & bit != 0;
        KeyRef {
            database: self.database,
            policy,
            bucket,
            by: dimensions & by::ALL,
            user: if has(by::USER) { &self.client.user } else { "" },
            address: self.client.address.filter(|_| has(by::ADDRESS)),
            application: if has(by::APPLICATION) {
                &self.session.application
            } else {
                ""
            },
            class: has(by::CLASS).then(|| Class::of(self.kind)),
            overflow: false,
        }
    }
}

pub(super) fn dimensions(dimensions: u64) -> String {
    let names = [
        (by::USER, "user"),
        (by::ADDRESS, "address"),
        (by::APPLICATION, "application"),
        (by::DATABASE, "database"),
        (by::CLASS, "statement class"),
    ];
    let chosen: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| dimensions & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if chosen.is_empty() {
        "database".to_owned()
    } else {
        chosen.join(" and ")
    }
}

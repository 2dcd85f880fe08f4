//! What the server knows about its objects, read as the operator role and kept.
//!
//! The gate asks one question here: what can this statement reach? Through
//! views, rules, triggers, foreign keys, partitions, inheritance, functions,
//! operators, casts, domains, defaults, row security. The answer errs to one
//! side: a reach that cannot be bounded says so, and the gate counts instead of
//! trusting.
//!
//! Deliberately not here: what is limited and by how much (`safety::limit`),
//! anything that runs on a client's link.
//!
//! # How fresh it is
//!
//! A digest of the catalogs is asked for about once a second and whenever the
//! gate saw a definition go by ([`Catalog::note_ddl`]); only when it moved is the
//! catalog read again. Between a definition that went through the gate and the
//! next reading the snapshot counts as stale ([`View::stale`]) and nothing is
//! trusted to be plain. A definition made behind the gate's back can be missed
//! for one poll interval; whoever can define triggers on a limited table without
//! the gate can also change it without the gate.
//!
//! Read [`CatalogSnapshot::reach`] first, then `walk`, then `load`.

mod beyond;
mod body;
mod connect;
mod counter;
mod digest;
mod live;
mod load;
mod matching;
mod places;
mod reach;
mod snapshot;
mod walk;

pub use body::Traces;
pub use counter::{COUNTER_COLUMNS, Counter, counter_query, parse_counter};
pub use digest::epoch_query;
pub use live::{Catalog, Error, Pace, Pulse, View};
pub use matching::Matched;
pub use reach::{Reach, World};
pub use snapshot::{
    Cascade, CatalogSnapshot, Function, Oid, Relation, RelationKind, Trigger, UniqueIndex,
};

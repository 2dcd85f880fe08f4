//! The shared vocabulary: plain data that every other folder speaks in.
//!
//! One word per concept. A *statement* is one SQL statement (a simple query
//! string may hold several). Its *facts* are what the text proves about it. A
//! *policy* (a rule, compiled from a *plugin*) answers with a *verdict*; all
//! policies together give a *permit* (which carries *requirements*) or a
//! *refusal*. A *client* is who connects, a *session* is its connection. A
//! *frontend* is a door, a *backend* is a database.
//!
//! Deliberately not here: any I/O, any parser, any wire format, any policy.
//!
//! Read [`facts::Facts`] first.

pub mod client;
pub mod code;
pub mod error;
pub mod facts;
pub mod literal;
pub mod pattern;
pub mod process;
pub mod refusal;
pub mod verdict;

pub use client::{BindValue, Client, SessionFacts, TransactionState};
pub use code::{
    Access, ColumnUses, Dialect, Effects, Kind, Measure, Predicate, Traits, ValueFeatures, Via,
};
pub use error::{ErrorKind, Side, UserFacing, UserMessage};
pub use facts::{Analysis, Facts, FunctionUse, Problem, Relation, Setting, Statement};
pub use literal::{Kinds, Literal, LiteralKind};
pub use process::ProcessId;
pub use refusal::{Disguise, Refusal, Severity};
pub use verdict::{Alert, Decision, Notice, Requirement, RequirementKind, Response, Verdict};

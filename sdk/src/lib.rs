//! Write a Portcullis policy in Rust.
//!
//! A policy is a pure question: may this statement run for this client, and
//! under which conditions? It answers with a [`Verdict`]; the gate enforces it.
//!
//! ```
//! use portcullis_sdk::prelude::*;
//!
//! /// Nobody but the migrations user changes the shape of the database.
//! struct NoSchemaChanges {
//!     except: Names,
//! }
//!
//! #[derive(Deserialize, Default)]
//! #[serde(default, deny_unknown_fields)]
//! struct Settings {
//!     except: Vec<String>,
//! }
//!
//! impl Policy for NoSchemaChanges {
//!     type Settings = Settings;
//!
//!     fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
//!         Ok(NoSchemaChanges { except: setup.names("/except", &settings.except) })
//!     }
//!
//!     fn judge(&self, statement: &Statement) -> Verdict {
//!         if !statement.effects().contains(Effects::SCHEMA) || statement.client().is_in(self.except) {
//!             return Verdict::pass();
//!         }
//!         Verdict::refuse("schema", "the schema may not be changed here")
//!             .hint("Put the change into a migration.")
//!     }
//! }
//!
//! portcullis_sdk::export!(NoSchemaChanges);
//! ```
//!
//! Read [`Policy`] first, then [`Statement`] and [`Verdict`].

// The generated export macros name the crate from the outside.
#[cfg(target_arch = "wasm32")]
extern crate self as portcullis_sdk;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod client;
pub mod code;
mod export;
#[doc(hidden)]
pub mod guest;
#[doc(hidden)]
pub mod host;
mod names;
mod policy;
mod settings;
mod statement;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
pub mod testing;
#[cfg(all(
    feature = "program",
    not(feature = "testing"),
    not(target_arch = "wasm32")
))]
#[path = "testing/program.rs"]
pub mod testing;
mod verdict;

pub use client::{Client, Clock, Event, Plan, Values};
pub use code::{
    Access, ColumnUses, Dialect, Effects, EventField, Kind, Measure, Outcome, Predicate, RateBy,
    Severity, Traits, Transaction, ValueFeatures, Via,
};
pub use names::{Names, Networks, Symbol, Windows};
pub use policy::{ConnectionPolicy, EventPolicy, PlanPolicy, Policy, Setup};
pub use settings::Issue;
pub use statement::{Relation, Statement};
pub use verdict::{Level, Response, Verdict, log};

/// What a policy usually needs.
pub mod prelude {
    pub use crate::code::{
        Access, ColumnUses, Dialect, Effects, EventField, Kind, Measure, Outcome, Predicate,
        RateBy, Severity, Traits, Transaction, ValueFeatures, Via,
    };
    pub use crate::{
        Client, Clock, ConnectionPolicy, Event, EventPolicy, Issue, Level, Names, Networks, Plan,
        PlanPolicy, Policy, Relation, Response, Setup, Statement, Symbol, Values, Verdict, Windows,
    };
    pub use serde::Deserialize;
}

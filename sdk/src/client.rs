//! Who asks, with which values, when, and what the planner expects.

use std::marker::PhantomData;

use crate::code::{Effects, EventField, Kind, Measure, Outcome, Transaction, ValueFeatures};
use crate::host;
use crate::names::{Names, Networks, Symbol, Windows};

/// Questions are only answered during a judgement, on its thread.
type Here = PhantomData<*const ()>;

/// The client that sent the statement.
#[derive(Debug)]
pub struct Client(Here);

impl Client {
    pub(crate) fn current() -> Client {
        Client(PhantomData)
    }

    /// The user it logged in as.
    pub fn user(&self) -> Symbol {
        Symbol(host::user())
    }

    /// The database it asked for.
    pub fn database(&self) -> Symbol {
        Symbol(host::database())
    }

    /// Whether the user matches a pattern of `names`. Remembered for all users with the same answer.
    pub fn is_in(&self, names: Names) -> bool {
        names.0.is_some_and(|set| host::user_in(set) >= 0)
    }

    /// Index of the first network that holds the client's address. Remembered
    /// for all addresses with the same answer.
    pub fn network(&self, networks: Networks) -> Option<usize> {
        usize::try_from(host::address_in(networks.0?)).ok()
    }

    /// The address itself; empty on a Unix socket. Prefer [`Client::network`].
    pub fn address(&self) -> String {
        host::address()
    }

    /// The current role on the server.
    pub fn role(&self) -> Symbol {
        Symbol(host::role())
    }

    /// application_name. The client may change it at any time.
    pub fn application(&self) -> Symbol {
        Symbol(host::application())
    }

    /// State of its transaction.
    pub fn transaction(&self) -> Transaction {
        Transaction::from_code(host::transaction())
    }

    /// A setting of the session, where the gate tracks it.
    pub fn setting(&self, name: &str) -> Option<String> {
        host::setting(name)
    }
}

/// Constants written in the text, and bind values.
///
/// Asking for a value itself makes the verdict useless for other values; the
/// questions with small answers do not.
#[derive(Debug)]
pub struct Values(Here);

impl Values {
    pub(crate) fn current() -> Values {
        Values(PhantomData)
    }

    /// Index of the first pattern that stands as a whole word inside any value.
    pub fn mention(&self, names: Names) -> Option<usize> {
        usize::try_from(host::mentions(names.0?)).ok()
    }

    /// What is found in at least one of the values.
    pub fn features(&self) -> ValueFeatures {
        ValueFeatures::from_bits_retain(host::features())
    }

    /// Whether the statement cannot return more than `n` rows, by its LIMIT.
    pub fn row_limit_at_most(&self, n: u64) -> bool {
        host::row_limit_at_most(n)
    }

    /// The constants, in order of appearance.
    pub fn literals(&self) -> impl Iterator<Item = String> {
        (0..host::literals()).map(host::literal)
    }

    /// The bind values in text form, NULL as none; none at all when the
    /// statement is judged before its values are known.
    pub fn parameters(&self) -> Option<impl Iterator<Item = Option<String>>> {
        let count = u32::try_from(host::parameters()).ok()?;
        Some((0..count).map(host::parameter))
    }

    /// The text as sent, with comments.
    pub fn text(&self) -> String {
        host::text()
    }
}

/// The time.
#[derive(Debug)]
pub struct Clock(Here);

impl Clock {
    pub(crate) fn current() -> Clock {
        Clock(PhantomData)
    }

    /// Index of the first window that is open now. Remembered until the next edge.
    pub fn window(&self, windows: Windows) -> Option<usize> {
        usize::try_from(host::in_window(windows.0?)).ok()
    }

    /// When the answer of [`Clock::window`] can change next, such as
    /// `2026-11-23 08:00 Europe/Berlin`; none: never.
    pub fn next_edge(&self, windows: Windows) -> Option<String> {
        Some(host::next_edge(windows.0?)).filter(|edge| !edge.is_empty())
    }

    /// Whether this time, in milliseconds since 1970, is still to come.
    pub fn is_before(&self, unix_ms: u64) -> bool {
        host::before(unix_ms)
    }
}

/// The plan of the statement, in a plan hook.
#[derive(Debug)]
pub struct Plan(Here);

impl Plan {
    pub(crate) fn current() -> Plan {
        Plan(PhantomData)
    }

    /// A number of the plan.
    pub fn measure(&self, measure: Measure) -> f64 {
        host::measure(measure.code())
    }

    /// The whole plan as `EXPLAIN (FORMAT JSON)` gives it.
    pub fn json(&self) -> String {
        host::plan_json()
    }
}

/// What became of a statement, in an event hook.
#[derive(Debug)]
pub struct Event(Here);

impl Event {
    pub(crate) fn current() -> Event {
        Event(PhantomData)
    }

    /// What became of the statement.
    pub fn outcome(&self) -> Outcome {
        Outcome::from_code(self.small(EventField::Outcome))
    }

    /// What it was.
    pub fn kind(&self) -> Kind {
        Kind::from_code(self.small(EventField::Kind))
    }

    /// What it could do.
    pub fn effects(&self) -> Effects {
        Effects::from_bits_retain(self.number(EventField::Effects))
    }

    /// The client that sent it.
    pub fn client(&self) -> Client {
        Client::current()
    }

    fn small(&self, field: EventField) -> u32 {
        u32::try_from(self.number(field)).unwrap_or(u32::MAX)
    }

    /// A numeric field; 0 when nothing is known.
    pub fn number(&self, field: EventField) -> u64 {
        host::event_number(field.code())
    }

    /// A text field; empty when nothing is known.
    pub fn text(&self, field: EventField) -> String {
        host::event_text(field.code())
    }
}

//! What an author writes.

use serde::de::DeserializeOwned;

use crate::client::{Client, Event, Plan};
use crate::host;
use crate::names::{Names, Networks, Symbol, Windows};
use crate::settings::{Issue, step};
use crate::statement::Statement;
use crate::verdict::Verdict;

/// A policy.
///
/// It lives in a component that is started once per worker and judges many
/// statements, but nothing may be kept between two judgements: verdicts are
/// remembered, and a policy that answers the same question differently faults.
pub trait Policy: Sized + 'static {
    /// The settings as the operator writes them. Derive `Deserialize`, with
    /// `#[serde(default, deny_unknown_fields)]`.
    type Settings: DeserializeOwned;

    /// Checks the settings and registers what `judge` will ask for.
    fn configure(settings: Self::Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>>;

    /// May this statement run for this client, and under which conditions?
    fn judge(&self, statement: &Statement) -> Verdict;
}

/// A policy that is also asked about connections: `export!(P, connection)`.
///
/// Asked after login, before the first statement, and again for every live
/// connection when the policies change. A hook passes or refuses; conditions
/// belong into the verdict about a statement, here they are a fault.
pub trait ConnectionPolicy: Policy {
    /// May this client connect, and may it stay?
    fn judge_connection(&self, client: &Client) -> Verdict;
}

/// A policy that looks at plans: `export!(P, plan)`, after
/// [`Verdict::want_plan`]. It passes or refuses, like a [`ConnectionPolicy`].
pub trait PlanPolicy: Policy {
    /// May the statement of this plan run?
    fn judge_plan(&self, plan: &Plan) -> Verdict;
}

/// A policy that is told what became of each statement, off the path:
/// `export!(P, events)`.
pub trait EventPolicy: Policy {
    /// Looks at one finished statement.
    fn observe(&self, event: &Event);
}

/// Registers names, networks and windows at `configure`.
///
/// What the gate does not accept becomes an [`Issue`] at the right place of the
/// settings; the policy need not look.
#[derive(Debug, Default)]
pub struct Setup {
    issues: Vec<Issue>,
}

impl Setup {
    pub(crate) fn issues(self) -> Vec<Issue> {
        self.issues
    }

    /// Reports a problem; the policy will not be loaded.
    pub fn issue(&mut self, issue: Issue) {
        self.issues.push(issue);
    }

    /// A name to compare with.
    pub fn intern(&mut self, name: &str) -> Symbol {
        Symbol(host::intern(name))
    }

    /// A list of name patterns that stands at `path` of the settings.
    pub fn names(&mut self, path: &str, patterns: &[String]) -> Names {
        Names(self.register(
            patterns,
            |index| step(path, &index.to_string()),
            host::names,
        ))
    }

    /// Name patterns that are the keys of the table at `path`.
    pub fn name_keys(&mut self, path: &str, keys: &[String]) -> Names {
        Names(self.register(keys, |index| step(path, &keys[index]), host::names))
    }

    /// A list of networks, `10.0.0.0/8` or a single address.
    pub fn networks(&mut self, path: &str, cidrs: &[String]) -> Networks {
        Networks(self.register(
            cidrs,
            |index| step(path, &index.to_string()),
            host::networks,
        ))
    }

    /// A list of time windows, `Mon-Fri 08:00-18:00 Europe/Berlin`.
    pub fn windows(&mut self, path: &str, specs: &[String]) -> Windows {
        Windows(self.register(specs, |index| step(path, &index.to_string()), host::windows))
    }

    fn register(
        &mut self,
        texts: &[String],
        place: impl Fn(usize) -> String,
        ask: impl Fn(&[String]) -> Result<u32, String>,
    ) -> Option<u32> {
        if texts.is_empty() {
            return None;
        }
        match ask(texts) {
            Ok(set) => Some(set),
            Err(whole) => {
                // The gate says what is wrong, not where: ask again one by one.
                let before = self.issues.len();
                for (index, text) in texts.iter().enumerate() {
                    if let Err(message) = ask(std::slice::from_ref(text)) {
                        self.issues.push(Issue::new(place(index), message));
                    }
                }
                if self.issues.len() == before {
                    self.issues.push(Issue::new(place(0), whole));
                }
                None
            }
        }
    }
}

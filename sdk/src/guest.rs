//! Between the exported functions of a component and a [`Policy`].

use std::cell::RefCell;
use std::rc::Rc;

use crate::client::{Client, Event, Plan};
use crate::policy::{ConnectionPolicy, EventPolicy, PlanPolicy, Policy, Setup};
use crate::settings::{self, Issue};
use crate::statement::Statement;
pub use crate::verdict::Delivered;

/// Natively: the optional hooks a policy was exported with.
pub trait Exported: Policy {
    /// Asks the connection hook, if there is one.
    fn connection(_slot: &Slot<Self>) -> Option<Delivered> {
        None
    }

    /// Tells the event hook, if there is one; says whether there is.
    fn observe(_slot: &Slot<Self>) -> bool {
        false
    }

    /// Asks the plan hook, if there is one.
    fn plan(_slot: &Slot<Self>) -> Option<Delivered> {
        None
    }
}

/// Holds the configured policy of a component.
pub struct Slot<P>(RefCell<Option<Rc<P>>>);

impl<P> Slot<P> {
    /// Not configured.
    pub const fn new() -> Slot<P> {
        Slot(RefCell::new(None))
    }
}

impl<P> Default for Slot<P> {
    fn default() -> Self {
        Slot::new()
    }
}

impl<P: Policy> Slot<P> {
    /// Reads the settings and makes the policy.
    pub fn configure(&self, text: &str) -> Result<(), Vec<Issue>> {
        let settings = settings::parse(text).map_err(|issue| vec![issue])?;
        let mut setup = Setup::default();
        let made = P::configure(settings, &mut setup);
        let mut issues = setup.issues();
        match made {
            Ok(policy) if issues.is_empty() => {
                *self.0.borrow_mut() = Some(Rc::new(policy));
                Ok(())
            }
            Ok(_) => Err(issues),
            Err(more) => {
                issues.extend(more);
                Err(issues)
            }
        }
    }

    /// Asks the policy about the current statement.
    pub fn judge(&self, kind: u32, effects: u64, traits: u64) -> Delivered {
        self.policy()
            .judge(&Statement::new(kind, effects, traits))
            .deliver()
    }

    fn policy(&self) -> Rc<P> {
        let policy = self.0.borrow().clone();
        policy.expect("the gate configures a policy before it asks")
    }
}

impl<P: ConnectionPolicy> Slot<P> {
    /// Asks the policy about the client.
    pub fn judge_connection(&self) -> Delivered {
        self.policy().judge_connection(&Client::current()).deliver()
    }
}

impl<P: PlanPolicy> Slot<P> {
    /// Asks the policy about the plan.
    pub fn judge_plan(&self) -> Delivered {
        self.policy().judge_plan(&Plan::current()).deliver()
    }
}

impl<P: EventPolicy> Slot<P> {
    /// Shows the policy what became of a statement.
    pub fn observe(&self) {
        self.policy().observe(&Event::current());
    }
}

/// Without this a panic would be a bare trap: the message goes to the log.
#[cfg(target_arch = "wasm32")]
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        crate::verdict::log(crate::verdict::Level::Error, &panic.to_string());
    }));
}

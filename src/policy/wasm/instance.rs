//! A running policy: its store, its memory, its three functions.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::TypedFunc;
use wasmtime::{Store, Trap};

use super::super::ask::{Ask, Judged};
use super::super::fault::{Fault, FaultKind};
use super::super::setup::{Registry, Setup};
use super::super::subject::Subject;
use super::bindings::{Decision, Issue as WitIssue};
use super::bounds::Bounds;
use super::component::Program;
use super::state::State;
use super::ticker::Ticker;
use crate::config::Runtime;

/// Bytes a guest may make the host copy in one call.
const HOSTCALL_FUEL: usize = 256 * 1024;

/// The same for `configure`, which hands over every pattern of its settings.
const CONFIGURE_FUEL: usize = 8 * 1024 * 1024;

/// Handles a guest may have: to what stands in for WASI, there are no others.
const HANDLES_MAX: usize = 10_000;

/// Bounds of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one call.
    pub budget: Duration,
    /// Bytes of linear memory, all of them together.
    pub memory: usize,
}

impl Limits {
    /// What an engine gives where nobody says otherwise.
    pub fn of(runtime: Runtime) -> Limits {
        Limits {
            budget: runtime.budget(),
            memory: Bounds::of(runtime).memory,
        }
    }
}

/// A problem with a setting, as `configure` reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// RFC 6901 pointer into the settings.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Why an instance could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// The settings are not accepted.
    Issues(Vec<Issue>),
    /// The policy failed.
    Fault(Fault),
}

/// Which exported function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `judge`.
    Judge,
    /// `judge-connection`.
    Connection,
    /// `judge-plan`.
    Plan,
    /// `observe`; it decides nothing.
    Event,
}

/// One instance; clean until its first call.
pub struct Instance {
    store: Store<State>,
    ticker: Arc<Ticker>,
    policy: Arc<str>,
    registry: Arc<Registry>,
    budget: Duration,
    judge: TypedFunc<(u32, u64, u64), (Decision,)>,
    connection: Option<TypedFunc<(), (Decision,)>>,
    plan: Option<TypedFunc<(), (Decision,)>>,
    observe: Option<TypedFunc<(), ()>>,
    poisoned: bool,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance of {}", self.policy)
    }
}

impl Program {
    /// Instantiates and configures.
    pub fn start(
        &self,
        policy: &Arc<str>,
        settings: &str,
        setup: Setup,
        limits: Limits,
    ) -> Result<(Instance, Arc<Registry>), StartError> {
        let mut store = Store::new(
            &self.engine.engine,
            State::new(limits.memory, self.engine.bounds),
        );
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(CONFIGURE_FUEL);
        store.set_max_component_handles(HANDLES_MAX);
        store.epoch_deadline_callback(|mut context| context.data_mut().meter.expired());
        let running = self.engine.ticker.running();
        arm(&mut store, self.engine.bounds.configure);
        store.data_mut().setup = Some(setup);
        let result = self.configure(&mut store, settings);
        drop(running);
        let (instance, outcome) =
            result.map_err(|error| StartError::Fault(fault_of(&error, &store)))?;
        outcome.map_err(StartError::Issues)?;
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        let functions = (|| {
            let exports = &self.exports;
            let hooks = [&exports.connection, &exports.plan].map(|index| {
                let found = index
                    .as_ref()
                    .map(|index| instance.get_typed_func(&mut store, index));
                found.transpose()
            });
            let [connection, plan] = hooks;
            let (connection, plan) = (connection?, plan?);
            let observe = exports
                .observe
                .as_ref()
                .map(|index| instance.get_typed_func(&mut store, index))
                .transpose()?;
            let judge = instance.get_typed_func(&mut store, exports.judge)?;
            Ok::<_, wasmtime::Error>((judge, connection, plan, observe))
        })();
        let (judge, connection, plan, observe) =
            functions.map_err(|error| StartError::Fault(link_fault(&error)))?;
        let registry = store.data_mut().setup.take().unwrap_or_default().finish();
        let instance = Instance {
            store,
            ticker: self.engine.ticker.clone(),
            policy: policy.clone(),
            registry: registry.clone(),
            budget: limits.budget,
            judge,
            connection,
            plan,
            observe,
            poisoned: false,
        };
        Ok((instance, registry))
    }

    fn configure(
        &self,
        store: &mut Store<State>,
        settings: &str,
    ) -> wasmtime::Result<(wasmtime::component::Instance, Result<(), Vec<Issue>>)> {
        let instance = self.pre.instantiate(&mut *store)?;
        let configure: TypedFunc<(&str,), (Result<(), Vec<WitIssue>>,)> =
            instance.get_typed_func(&mut *store, self.exports.configure)?;
        let (answer,) = configure.call(&mut *store, (settings,))?;
        let issue = |issue: WitIssue| Issue {
            path: issue.path,
            message: issue.message,
            hint: issue.hint,
        };
        Ok((
            instance,
            answer.map_err(|issues| issues.into_iter().map(issue).collect()),
        ))
    }
}

impl Instance {
    /// Calls a hook on a subject. After a fault the instance is poisoned and must be dropped.
    pub fn call(&mut self, hook: Hook, subject: Arc<Subject>) -> Result<Judged, Fault> {
        match hook {
            Hook::Connection if self.connection.is_none() => return Err(no_hook("connection")),
            Hook::Plan if self.plan.is_none() => return Err(no_hook("plan")),
            Hook::Event if self.observe.is_none() => return Err(no_hook("event")),
            _ => {}
        }
        let ask = Ask::new(self.policy.clone(), self.registry.clone(), subject);
        let (kind, effects, traits) = ask.shape();
        self.store.data_mut().ask = Some(ask);
        let ticker = self.ticker.clone();
        let running = ticker.running();
        arm(&mut self.store, self.budget);
        let hooked = match hook {
            Hook::Connection => self.connection.as_ref(),
            Hook::Plan => self.plan.as_ref(),
            Hook::Judge | Hook::Event => None,
        };
        let result = match (hooked, &self.observe) {
            (Some(hook), _) => hook.call(&mut self.store, ()),
            (None, Some(observe)) if hook == Hook::Event => observe
                .call(&mut self.store, ())
                .map(|()| (Decision::Pass,)),
            _ => self.judge.call(&mut self.store, (kind, effects, traits)),
        };
        drop(running);
        let ask = self.store.data_mut().ask.take();
        let Some(ask) = ask else {
            return Err(Fault::call("the call lost its statement"));
        };
        match result {
            Ok((decision,)) => ask.finish(decision.into()),
            // It asked for values that are not there and could not go on: it is asked again with them.
            Err(_) if ask.needs_values() => {
                self.poisoned = true;
                ask.finish(crate::model::Decision::Pass)
            }
            Err(error) => {
                self.poisoned = true;
                let mut fault = fault_of(&error, &self.store);
                if let Some((_, line)) = ask.logs().last() {
                    fault.message = format!("{} ({line})", fault.message);
                }
                Err(fault)
            }
        }
    }

    /// Whether it can be called no more.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

/// Before a call: the budget, and an epoch that expires at the next tick.
fn arm(store: &mut Store<State>, budget: Duration) {
    store.data_mut().meter.reset(budget);
    store.data_mut().limiter.denied = false;
    store.set_epoch_deadline(1);
}

fn fault_of(error: &wasmtime::Error, store: &Store<State>) -> Fault {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return fault.clone();
    }
    if store.data().limiter.denied {
        return Fault::new(FaultKind::Memory, "asked for more memory than it may have");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::new(FaultKind::Timeout, "was interrupted"),
        Some(trap) => Fault::new(FaultKind::Trap, trap.to_string()),
        None => Fault::new(FaultKind::Call, error.root_cause().to_string()),
    }
}

fn no_hook(name: &str) -> Fault {
    Fault::call(format!("there is no {name} hook to ask"))
}

fn link_fault(error: &wasmtime::Error) -> Fault {
    Fault::new(FaultKind::Link, error.root_cause().to_string())
}

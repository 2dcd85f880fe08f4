//! Bytes become a program: checked, compiled, linked, not yet run.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::bounds::COMPONENT_BYTES_MAX;
use super::engine::Engine;
use super::state::State;
use super::wasi;
use crate::config::Runtime;

/// Name space of the policy interface.
const PACKAGE: &str = "portcullis:policy/";

/// Why bytes are not a policy, in words for the one who put them there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The other engine may take it.
    pub interpreted: bool,
}

/// A compiled and linked component.
#[derive(Clone)]
pub struct Program {
    pub(super) engine: Engine,
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Exports,
}

/// Where the exported functions are.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) configure: ComponentExportIndex,
    pub(super) judge: ComponentExportIndex,
    pub(super) connection: Option<ComponentExportIndex>,
    pub(super) plan: Option<ComponentExportIndex>,
    pub(super) observe: Option<ComponentExportIndex>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Program")
    }
}

impl Program {
    /// Which engine runs it.
    pub fn runtime(&self) -> Runtime {
        self.engine.runtime
    }

    /// Whether it wants to be asked about connections.
    pub fn judges_connections(&self) -> bool {
        self.exports.connection.is_some()
    }

    /// Whether it wants to be asked about plans.
    pub fn judges_plans(&self) -> bool {
        self.exports.plan.is_some()
    }

    /// Whether it wants to be told what became of statements.
    pub fn observes(&self) -> bool {
        self.exports.observe.is_some()
    }
}

impl Engine {
    /// Checks, compiles and links. Takes tens of milliseconds: never on a worker.
    pub fn compile(&self, bytes: &[u8]) -> Result<Program, Refused> {
        self.check_bytes(bytes)?;
        let component = Component::from_binary(&self.engine, bytes).map_err(|error| {
            refused(
                format!("not a valid component: {error:#}"),
                "build it again with `portcullis plugin build`",
            )
        })?;
        self.check_imports(&component)?;
        let linked = match self.bounds.wasi {
            false => self.linker.instantiate_pre(&component),
            true => {
                let mut linker = (*self.linker).clone();
                wasi::provide(&mut linker, &self.engine, &component)
                    .and_then(|()| linker.instantiate_pre(&component))
            }
        };
        let pre = linked.map_err(|error| {
            refused(
                format!("does not fit the policy interface: {error:#}"),
                "build it against this version's wit/policy.wit",
            )
        })?;
        let find = |interface: &str, function: &str| {
            let instance =
                component.get_export_index(None, format!("{PACKAGE}{interface}@0.1.0"))?;
            component.get_export_index(Some(&instance), function)
        };
        let needed = |function| {
            let missing = || {
                refused(
                    format!("does not export `policy.{function}`"),
                    "a policy exports the interface portcullis:policy/policy@0.1.0",
                )
            };
            find("policy", function).ok_or_else(missing)
        };
        let exports = Exports {
            configure: needed("configure")?,
            judge: needed("judge")?,
            connection: find("connection-hook", "judge-connection"),
            plan: find("plan-hook", "judge-plan"),
            observe: find("event-hook", "observe"),
        };
        Ok(Program {
            engine: self.clone(),
            pre,
            exports,
        })
    }

    /// Names the first import this host lacks; the linker's own words help nobody.
    fn check_imports(&self, component: &Component) -> Result<(), Refused> {
        let known = KNOWN;
        for (name, item) in component.component_type().imports(&self.engine) {
            if self.bounds.wasi && wasi::interface(name).is_some() {
                continue;
            }
            let Some(rest) = name.strip_prefix(PACKAGE) else {
                return Err(self.refuse_import(name));
            };
            let (interface, version) = rest.split_once('@').unwrap_or((rest, "0.1.0"));
            if !version.starts_with("0.1.") {
                return Err(refused(
                    format!("is written for interface {version}; this host speaks 0.1"),
                    "build it against this version's wit/policy.wit",
                ));
            }
            let functions = known
                .iter()
                .find(|(known, _)| *known == interface)
                .map(|(_, functions)| *functions);
            let ComponentItem::ComponentInstance(instance) = item.ty else {
                continue;
            };
            for (function, item) in instance.exports(&self.engine) {
                let is_function = matches!(item.ty, ComponentItem::ComponentFunc(_));
                let provided = functions
                    .is_some_and(|functions| functions.split(' ').any(|known| known == function));
                if is_function && !provided {
                    return Err(refused(
                        format!(
                            "needs portcullis {} or newer: it imports `{interface}.{function}`",
                            newer(version)
                        ),
                        "upgrade the gate, or build the policy against an older interface",
                    ));
                }
            }
        }
        Ok(())
    }

    fn refuse_import(&self, name: &str) -> Refused {
        if self.bounds.wasi {
            return refused(
                format!("imports `{name}`, which no policy gets"),
                "a policy sees the policy interface, and WASI 0.2 with nothing behind it",
            );
        }
        let refused = refused(
            format!("imports `{name}`, which ordinary policies do not get"),
            "a policy sees nothing but the policy interface; build it for wasm32-unknown-unknown",
        );
        match wasi::interface(name) {
            None => refused,
            Some(_) => Refused {
                hint: format!(
                    "{}, or, if its language cannot do without WASI, {INTERPRETED}",
                    refused.hint
                ),
                interpreted: true,
                ..refused
            },
        }
    }

    fn check_bytes(&self, bytes: &[u8]) -> Result<(), Refused> {
        let most = self.bounds.component;
        if bytes.len() > most {
            let size = bytes.len() / 1024;
            let interpreted = most < COMPONENT_BYTES_MAX && bytes.len() <= COMPONENT_BYTES_MAX;
            let hint = "strip debug information, or split the policy";
            return Err(Refused {
                message: format!("is {size} kB; a component may have {} kB", most / 1024),
                hint: match interpreted {
                    true => format!("{hint}; if it brings an interpreter, {INTERPRETED}"),
                    false => hint.to_owned(),
                },
                interpreted,
            });
        }
        match (bytes.get(..4), bytes.get(4..8)) {
            (Some(b"\0asm"), Some([0x0d, 0, 1, 0])) => Ok(()),
            (Some(b"\0asm"), Some([1, 0, 0, 0])) => Err(refused(
                "is a core WebAssembly module, not a component",
                "`portcullis plugin build` makes components",
            )),
            (Some(b"\x7fELF"), _) => Err(refused(
                "is machine code; precompiled policies are never loaded",
                "give the component's .wasm file",
            )),
            _ => Err(refused(
                "is not WebAssembly",
                "give a component's .wasm file",
            )),
        }
    }
}

/// What to do with a component that does not fit the ordinary engine.
const INTERPRETED: &str = "set `runtime = \"interpreted\"` at the policy";

/// Every function this host provides; a test compares it with `wit/policy.wit`.
pub(in super::super) const KNOWN: &[(&str, &str)] = &[
    ("types", ""),
    ("setup", "intern names networks windows"),
    (
        "statement",
        "predicate relations relation-at find pattern find-column find-function name normalized find-access limit dialect shape-in \
         find-column-use find-unlisted-function function-name find-setting setting-value",
    ),
    (
        "client",
        "user database user-in address-in address role application transaction setting",
    ),
    (
        "values",
        "features row-limit-at-most literals literal parameters parameter text mentions",
    ),
    ("clock", "in-window before next-edge"),
    ("counters", "read"),
    ("ast", "get"),
    ("log", "write"),
    (
        "verdict",
        "reason disguise notice alert rows-changed-max rows-returned-max table-rows-max rate plan-max want-plan preview \
         dry-run read-only backup confirm statement-timeout lock-timeout mask learn",
    ),
    ("response", "column row"),
    ("plan", "measure json"),
    ("event", "number text"),
];

/// The version that has what this one lacks: the one the component was built for, if it says a newer one.
fn newer(version: &str) -> String {
    if version == "0.1.0" {
        "0.1.1".to_owned()
    } else {
        version.to_owned()
    }
}

fn refused(message: impl Into<String>, hint: &str) -> Refused {
    Refused {
        message: message.into(),
        hint: hint.to_owned(),
        interpreted: false,
    }
}

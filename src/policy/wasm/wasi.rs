//! WASI for components that cannot do without it: a world with nothing in it.
//!
//! Interpreters import WASI whether a program uses it or not. Here they find no
//! arguments, no variables, no folders and no network; the clocks stand still,
//! random numbers are always the same, and what is written goes nowhere. The
//! rest is denied: with an error where the function has one, with a trap where
//! it has none.
//!
//! Nothing in this file reads anything of the machine it runs on, and a test
//! holds that: what is not here no component can reach. And because every
//! answer is always the same, none of them has to be noted as a read.

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, Resource, ResourceType, Val};
use wasmtime::{StoreContextMut, bail};

use super::state::State;

/// Every resource of this world: a handle to nothing.
struct Nothing;

/// Bytes of a write that are taken at once, and random bytes that are given at once.
const BYTES_MAX: u64 = 4096;

/// The seed of everything that looks random.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The interface, without its version, when it is one of WASI 0.2.
pub(super) fn interface(import: &str) -> Option<&str> {
    let (name, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    version.starts_with("0.2.").then_some(name)
}

/// Gives the component every function of WASI that it imports.
pub(super) fn provide(
    linker: &mut Linker<State>,
    engine: &wasmtime::Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    for (import, item) in component.component_type().imports(engine) {
        let (Some(interface), ComponentItem::ComponentInstance(instance)) =
            (interface(import), item.ty)
        else {
            continue;
        };
        let mut provided = linker.instance(import)?;
        for (name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    provided.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let (interface, function) = (interface.to_owned(), name.to_owned());
                    provided.func_new(name, move |mut store, ty, given, results| {
                        let answer = answer(&interface, &function, &mut store, &ty, given);
                        let_go(&mut store, given)?;
                        if let (Some(slot), Some(answer)) = (results.first_mut(), answer?) {
                            *slot = answer;
                        }
                        Ok(())
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn answer(
    interface: &str,
    function: &str,
    store: &mut StoreContextMut<'_, State>,
    ty: &ComponentFunc,
    given: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let answer = match (interface, function) {
        // Nobody is there.
        ("cli/environment", "get-environment" | "get-arguments") => Val::List(Vec::new()),
        ("cli/environment", "initial-cwd") => Val::Option(None),
        ("filesystem/preopens", "get-directories") => Val::List(Vec::new()),
        ("filesystem/types", "filesystem-error-code") => Val::Option(None),
        (_, "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr") => {
            Val::Option(None)
        }
        // Handles to nothing.
        ("cli/stdin", "get-stdin")
        | ("cli/stdout", "get-stdout")
        | ("cli/stderr", "get-stderr")
        | ("sockets/instance-network", "instance-network")
        | ("clocks/monotonic-clock", "subscribe-instant" | "subscribe-duration")
        | ("io/streams", "[method]input-stream.subscribe" | "[method]output-stream.subscribe") => {
            handle(store)?
        }
        // What is written goes nowhere, and there is nothing to read.
        ("io/streams", "[method]output-stream.check-write") => good(Some(Val::U64(BYTES_MAX))),
        (
            "io/streams",
            "[method]output-stream.write"
            | "[method]output-stream.blocking-write-and-flush"
            | "[method]output-stream.flush"
            | "[method]output-stream.blocking-flush",
        ) => good(None),
        (
            "io/streams",
            "[method]input-stream.read"
            | "[method]input-stream.blocking-read"
            | "[method]input-stream.skip"
            | "[method]input-stream.blocking-skip",
        ) => bad(Val::Variant("closed".to_owned(), None)),
        ("io/error", "[method]error.to-debug-string") => Val::String(String::new()),
        // Nothing is waited for.
        ("io/poll", "[method]pollable.ready") => Val::Bool(true),
        ("io/poll", "[method]pollable.block") => return Ok(None),
        ("io/poll", "poll") => all_ready(given),
        // The clocks stand still.
        ("clocks/wall-clock", "now" | "resolution") => Val::Record(vec![
            ("seconds".to_owned(), Val::U64(0)),
            ("nanoseconds".to_owned(), Val::U32(0)),
        ]),
        ("clocks/monotonic-clock", "now") => Val::U64(0),
        ("clocks/monotonic-clock", "resolution") => Val::U64(1),
        // Random numbers are always the same.
        ("random/random", "get-random-bytes")
        | ("random/insecure", "get-insecure-random-bytes") => bytes(given)?,
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            Val::U64(SEED)
        }
        ("random/insecure-seed", "insecure-seed") => {
            Val::Tuple(vec![Val::U64(SEED), Val::U64(SEED)])
        }
        _ => match denial(ty) {
            Some(denied) => denied,
            None => bail!("asked WASI for `{interface}.{function}`, which no policy gets"),
        },
    };
    Ok(Some(answer))
}

/// Handles that were passed are let go again.
fn let_go(store: &mut StoreContextMut<'_, State>, given: &[Val]) -> wasmtime::Result<()> {
    for value in given {
        match value {
            Val::Resource(handle) => handle.resource_drop(&mut *store)?,
            Val::List(values) | Val::Tuple(values) => let_go(store, values)?,
            Val::Option(Some(value)) => let_go(store, std::slice::from_ref(value))?,
            _ => {}
        }
    }
    Ok(())
}

fn handle(store: &mut StoreContextMut<'_, State>) -> wasmtime::Result<Val> {
    let handle = Resource::<Nothing>::new_own(0);
    Ok(Val::Resource(handle.try_into_resource_any(store)?))
}

fn good(value: Option<Val>) -> Val {
    Val::Result(Ok(value.map(Box::new)))
}

fn bad(value: Val) -> Val {
    Val::Result(Err(Some(Box::new(value))))
}

fn all_ready(given: &[Val]) -> Val {
    let count = match given.first() {
        Some(Val::List(handles)) => u32::try_from(handles.len()).unwrap_or(u32::MAX),
        _ => 0,
    };
    Val::List((0..count).map(Val::U32).collect())
}

fn bytes(given: &[Val]) -> wasmtime::Result<Val> {
    let count = match given.first() {
        Some(Val::U64(count)) if *count <= BYTES_MAX => *count,
        _ => bail!("asked WASI for more than {BYTES_MAX} random bytes at once"),
    };
    let byte = |at: u64| SEED.rotate_left((at % 64) as u32).to_le_bytes()[0];
    Ok(Val::List((0..count).map(|at| Val::U8(byte(at))).collect()))
}

/// The error that says no, where the function knows one.
fn denial(ty: &ComponentFunc) -> Option<Val> {
    let Some(Type::Result(result)) = ty.results().next() else {
        return None;
    };
    let Some(Type::Enum(codes)) = result.err() else {
        return None;
    };
    let no = ["access-denied", "access", "not-permitted"];
    let code = codes.names().find(|name| no.contains(name))?;
    Some(bad(Val::Enum(code.to_owned())))
}

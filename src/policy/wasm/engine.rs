//! One engine for all policies: how code is compiled and interrupted.

use std::path::Path;
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Config};

use super::bindings::Imports;
use super::state::State;
use super::ticker::Ticker;

/// Stack of a guest in bytes; the worker's own stack must hold it.
const STACK_MAX: usize = 256 * 1024;

/// Compiles components and keeps their clock. Built once by the composition root.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Arc<Linker<State>>,
    pub(super) ticker: Arc<Ticker>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Builds it. With a folder, compiled code is kept there between runs.
    ///
    /// What is loaded from the cache is machine code: the folder is made for
    /// this user alone, and one that others can write to is not used.
    pub fn new(cache: Option<&Path>) -> Result<Engine, String> {
        let mut config = Config::new();
        // Calls are synchronous; support for concurrent ones makes each cost three times as much.
        config.concurrency_support(false);
        config.epoch_interruption(true);
        config.max_wasm_stack(STACK_MAX);
        config.wasm_component_model(true);
        if let Some(folder) = cache.and_then(private_folder) {
            let mut settings = CacheConfig::new();
            settings.with_directory(folder);
            config.cache(Cache::new(settings).ok());
        }
        let engine = wasmtime::Engine::new(&config)
            .map_err(|error| format!("the policy engine: {error:#}"))?;
        let mut linker = Linker::new(&engine);
        Imports::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(|error| format!("the policy interface: {error:#}"))?;
        let ticker =
            Ticker::start(engine.weak()).map_err(|error| format!("the policy clock: {error}"))?;
        Ok(Engine {
            engine,
            linker: Arc::new(linker),
            ticker: Arc::new(ticker),
        })
    }
}

/// The folder, made if needed, if nobody else can write to it.
#[cfg(unix)]
fn private_folder(folder: &Path) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let _ = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    let folder = folder.canonicalize().ok()?;
    let meta = std::fs::metadata(&folder).ok()?;
    // Writable by this process, but owned by somebody else, means that somebody else writes there.
    let own = std::fs::metadata("/proc/self").map_or(meta.uid(), |process| process.uid());
    let private = meta.is_dir() && meta.mode() & 0o022 == 0 && meta.uid() == own;
    if !private {
        tracing::warn!(folder = %folder.display(), "compiled policies are not cached: others can write to the folder");
    }
    private.then_some(folder)
}

#[cfg(not(unix))]
fn private_folder(_folder: &Path) -> Option<std::path::PathBuf> {
    None
}

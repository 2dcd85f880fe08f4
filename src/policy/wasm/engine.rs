//! The engines: how code is compiled and interrupted.
//!
//! There are two, because a policy that brings an interpreter of its language
//! needs ten times the room of an ordinary one and may import WASI. What the
//! ordinary one allows stays small for everybody else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Config};

use super::bindings::Imports;
use super::bounds::Bounds;
use super::state::State;
use super::ticker::Ticker;
use crate::config::Runtime;

/// Compiles components and keeps their clock.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Arc<Linker<State>>,
    pub(super) ticker: Arc<Ticker>,
    pub(super) runtime: Runtime,
    pub(super) bounds: &'static Bounds,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.runtime.name())
    }
}

impl Engine {
    /// Builds it. With a folder, compiled code is kept there between runs.
    ///
    /// What is loaded from the cache is machine code: the folder is made for
    /// this user alone, and one that others can write to is not used.
    pub fn new(runtime: Runtime, cache: Option<&Path>) -> Result<Engine, String> {
        let bounds = Bounds::of(runtime);
        let mut config = Config::new();
        // Calls are synchronous; support for concurrent ones makes each cost three times as much.
        config.concurrency_support(false);
        config.epoch_interruption(true);
        config.max_wasm_stack(bounds.stack);
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
            runtime,
            bounds,
        })
    }
}

/// Both engines. Built once by the composition root.
#[derive(Debug)]
pub struct Engines {
    ordinary: Engine,
    /// Most gates never need it.
    interpreted: Mutex<Option<Engine>>,
    cache: Option<PathBuf>,
}

impl Engines {
    /// Builds the ordinary one; the other is built when it is first asked for.
    pub fn new(cache: Option<&Path>) -> Result<Engines, String> {
        Ok(Engines {
            ordinary: Engine::new(Runtime::Ordinary, cache)?,
            interpreted: Mutex::default(),
            cache: cache.map(Path::to_path_buf),
        })
    }

    /// The engine of this runtime.
    pub fn of(&self, runtime: Runtime) -> Result<Engine, String> {
        if runtime == Runtime::Ordinary {
            return Ok(self.ordinary.clone());
        }
        let mut interpreted = self
            .interpreted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*interpreted {
            return Ok(engine.clone());
        }
        let engine = Engine::new(runtime, self.cache.as_deref())?;
        Ok(interpreted.insert(engine).clone())
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

//! The composition root: builds everything, gives each part what it needs, stops it in order.
//!
//! Deliberately not here: any decision about a statement, any byte of a protocol.
//!
//! Read [`App::build`] first, then [`App::serve`] in `run`.

mod asked;
mod backends;
mod commands;
mod directories;
mod doors;
pub mod errors;
mod live;
mod manager;
mod neighbours;
mod policies;
pub mod reload;
mod rights;
mod run;
pub mod shutdown;
mod signal;
mod status;
mod steer;
mod takeover;
pub mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub use doors::{check_tls, expiring};
pub use policies::{check_policies, diagnostics, load_policies};
pub use rights::check_servers;
pub use shutdown::{Phase, Shutdown};

use crate::admin::{Admin, Readiness, Sources};
use crate::config::{Config, Diagnostic, Endpoint};
use crate::control::{Place, Seat};
use crate::gate::cancel::Cancels;
use crate::model::ProcessId;
use crate::net::{Acceptor, Held};
use crate::policy::Policies;
use crate::safety::rate::Rates;
use crate::telemetry::Telemetry;

use backends::Databases;
use directories::Directories;
use doors::Doors;
use status::Board;
use takeover::take::Predecessor;
use workers::Shared;

/// Why the gate cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Policies cannot be loaded.
    #[error("{} problems with the policies", .0.len())]
    Policies(Vec<Diagnostic>),
    /// Certificates or keys cannot be used.
    #[error("{} problems with certificates", .0.len())]
    Tls(Vec<Diagnostic>),
    /// There is nothing to serve, or nobody to serve it to.
    #[error("{0}")]
    Nothing(&'static str),
    /// A database cannot be prepared.
    #[error("the database `{name}` cannot be used")]
    Database {
        /// As configured.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A door cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Endpoint,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operator's door cannot be opened.
    #[error(transparent)]
    Admin(#[from] crate::admin::Error),
    /// The control socket cannot be opened.
    #[error("the gate cannot be steered")]
    Control(#[from] crate::control::Error),
    /// The gate that runs cannot be taken over from; it goes on.
    #[error("cannot take over from the gate that runs")]
    Takeover(#[source] crate::control::Error),
    /// A thread or a runtime cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// What is not in the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// If policies cannot be loaded, serve all the same and refuse everything.
    pub start_refusing: bool,
    /// Notice changed files.
    pub watch: bool,
    /// Take over from the gate that runs, with its listening sockets.
    pub takeover: bool,
}

/// A gate, built and bound, not yet serving.
pub struct App {
    shared: Shared,
    databases: Arc<Databases>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    /// Accepts, and keeps the catalogs fresh: nothing that a statement waits for.
    side: Runtime,
    acceptors: Vec<Acceptor>,
    addresses: Vec<Endpoint>,
    readiness: Arc<Readiness>,
    board: Arc<Board>,
    admin: Option<Admin>,
    options: Options,
    manager: manager::Manager,
    /// Our place among the gates of the run folder; none: there is no such folder.
    seat: Option<Seat>,
    /// The gate that serves until this one could.
    before: Option<Before>,
    live: live::Live,
}

/// Whom a gate follows, and which of the sockets that came from there it serves.
struct Before {
    gate: Predecessor,
    taken: Vec<usize>,
    tie: Option<manager::Tie>,
}

impl App {
    /// Loads all policies, prepares all databases, binds all ports; or says why not.
    pub fn build(config: Config, options: Options) -> Result<App, AppError> {
        if config.databases.is_empty() {
            return Err(AppError::Nothing("no database is configured"));
        }
        if !config.knows_users() {
            return Err(AppError::Nothing(
                "no user is configured, so nobody could log in",
            ));
        }
        let problems = check_tls(&config);
        if !problems.is_empty() {
            return Err(AppError::Tls(problems));
        }
        for warning in expiring(&config, SystemTime::now()) {
            tracing::warn!("{}", warning.message);
        }
        let doors = Arc::new(Doors::open(&config).map_err(AppError::Tls)?);
        let telemetry = Telemetry::new(config.log.statements);
        let readiness = Arc::new(Readiness::default());
        let policies = policies_or_refusal(&config, options, &readiness)?;
        // Before any port is bound: a client must never meet a gate without policies.
        let side = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("side")
            .enable_all()
            .build()
            .map_err(AppError::Thread)?;
        let databases = Databases::open(&config, side.handle().clone())?;
        let directories = Arc::new(Directories::new(side.handle().clone()));
        directories.swap(directories.prepare(&config)?);
        let seat = sit_down(&config)?;
        let mut held = Held::from_environment();
        // As late as can be: from here on another gate waits for this one.
        let before = match options.takeover {
            true => Some(follow(seat.as_ref(), &side, &mut held)?),
            false => None,
        };
        let acceptors = bind(&config, &side, &mut held)?;
        let addresses: Vec<Endpoint> = acceptors.iter().map(|a| a.address().clone()).collect();
        let config = Arc::new(ArcSwap::from_pointee(config));
        let (drain, draining) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        // Without a seat nobody looks for the process, whatever its number is.
        let process = seat.as_ref().map(Seat::process);
        let process = process.unwrap_or_else(|| ProcessId::new(rand::random()));
        let cancels = Cancels::new(process, seat.as_ref().map(neighbours::beside));
        let shared = Shared {
            config: config.clone(),
            policies: policies.clone(),
            telemetry: telemetry.clone(),
            rates: Arc::new(Rates::new()),
            cancels: Arc::new(cancels),
            attempts: Arc::default(),
            directories: directories.clone(),
            backends: databases.current(),
            doors,
            drain: draining,
            stop: stopping,
            clients: Arc::default(),
            sessions: Arc::new(AtomicU64::new(1)),
            brakes: Arc::default(),
            seed: rand::random(),
        };
        let live = live::Live {
            config: config.clone(),
            policies: policies.clone(),
            turn: Arc::default(),
        };
        let board = Arc::new(Board {
            config: config.clone(),
            policies: policies.clone(),
            databases: databases.clone(),
            addresses: addresses.clone(),
            last_reload: Default::default(),
        });
        let weak = Arc::downgrade(&policies);
        telemetry.read_gauge("portcullis_policy_sets_alive", move || {
            weak.upgrade()
                .map_or(0, |policies| policies.sets_alive() as i64)
        });
        let weak = Arc::downgrade(&policies);
        telemetry.read_gauge("portcullis_events_dropped", move || {
            weak.upgrade()
                .map_or(0, |policies| policies.dropped_events() as i64)
        });
        // Not weak: upgrading would move a counter that all workers share.
        let watching = policies.clone();
        telemetry.show_records(move |record| watching.observe(record));
        let weak = Arc::downgrade(&databases);
        telemetry.read_gauge("portcullis_links", move || {
            weak.upgrade()
                .map_or(0, |databases| databases.links() as i64)
        });
        let admin = match config.load().admin {
            Some(address) => {
                let sources = Sources {
                    telemetry,
                    readiness: readiness.clone(),
                    status: board.clone(),
                };
                let passed = held.take_tcp(crate::admin::ROLE, address);
                Some(Admin::start(address, passed, sources)?)
            }
            None => None,
        };
        let before = before.map(|(gate, tie)| Before {
            gate,
            taken: held.taken(),
            tie,
        });
        Ok(App {
            shared,
            databases,
            drain,
            stop,
            side,
            acceptors,
            addresses,
            readiness,
            board,
            admin,
            options,
            manager: manager::Manager::default(),
            seat,
            before,
            live,
        })
    }

    /// Addresses of the doors, in the order of the configuration, with the ports that were chosen.
    pub fn addresses(&self) -> &[Endpoint] {
        &self.addresses
    }

    /// Address of the admin pages.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Counters and log.
    pub fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    /// The policies.
    pub fn policies(&self) -> &Arc<Policies> {
        &self.shared.policies
    }
}

fn policies_or_refusal(
    config: &Config,
    options: Options,
    readiness: &Readiness,
) -> Result<Arc<Policies>, AppError> {
    match Policies::start(config).map_err(|errors| diagnostics(&errors, config)) {
        Ok(policies) => Ok(policies),
        Err(list) if options.start_refusing => {
            for problem in &list {
                tracing::error!("{}", problem.to_string().trim_end());
            }
            tracing::error!("policies cannot be loaded: every statement is refused until they can");
            readiness.refusing(true);
            Policies::refusing(config)
                .map_err(|errors| AppError::Policies(diagnostics(&errors, config)))
        }
        Err(list) => Err(AppError::Policies(list)),
    }
}

/// Takes a place in the run folder. Where nobody named one, a gate without is
/// better than none.
fn sit_down(config: &Config) -> Result<Option<Seat>, AppError> {
    let Some(folder) = config.run_dir() else {
        return Ok(None);
    };
    match Place::make(&folder).and_then(|place| place.claim()) {
        Ok(seat) => Ok(Some(seat)),
        Err(error) if config.run_dir.is_some() => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "there is no control socket: set run_dir");
            Ok(None)
        }
    }
}

/// Gets the sockets of the gate that runs.
fn follow(
    seat: Option<&Seat>,
    side: &Runtime,
    held: &mut Held,
) -> Result<(Predecessor, Option<manager::Tie>), AppError> {
    let seat = seat.ok_or(AppError::Nothing(
        "there is no run folder in which the gate that runs could be found: set run_dir",
    ))?;
    let asked = side.block_on(Predecessor::ask(seat.place()));
    let (gate, passed, tie) = asked.map_err(AppError::Takeover)?;
    held.receive(passed);
    Ok((gate, tie))
}

fn bind(config: &Config, side: &Runtime, held: &mut Held) -> Result<Vec<Acceptor>, AppError> {
    let _inside = side.enter();
    let doors = config.listen.iter().enumerate();
    let acceptors = doors
        .map(|(number, door)| {
            Acceptor::bind(&door.address, number, held).map_err(|source| AppError::Listen {
                address: door.address.clone(),
                source,
            })
        })
        .collect::<Result<_, _>>()?;
    for address in held.left() {
        tracing::warn!(
            address,
            "the service manager holds a socket that no [[listen]] names"
        );
    }
    Ok(acceptors)
}

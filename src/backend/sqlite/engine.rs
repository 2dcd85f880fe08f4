//! One database, its connections and their threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::catalog;
use super::error::Error;
use super::functions;
use super::guard::Guard;
use super::tally::Tally;
use super::thread::{self, Command, Control, Described, Event, Order, Scan};
use super::watch::{Canceller, Watch};
use crate::backend::rows::Value;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; none: in memory, shared by all links of the engine.
    pub path: Option<PathBuf>,
    /// Most links at once.
    pub max: usize,
    /// How long a session waits for a free one.
    pub wait: Duration,
    /// How long a statement waits for another transaction's lock.
    pub lock_timeout: Duration,
}

impl Options {
    /// A file, or memory, with ordinary bounds.
    pub fn new(path: Option<PathBuf>) -> Options {
        Options {
            path,
            max: 100,
            wait: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(5),
        }
    }
}

/// Who a link works for: what `current_user` and its kin answer.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Database as named by the client.
    pub database: String,
    /// Process number told to the client.
    pub pid: i32,
}

/// One database.
pub struct Engine {
    options: Options,
    target: String,
    permits: Arc<Semaphore>,
    /// A database in memory lives as long as one connection to it does.
    _anchor: Mutex<Connection>,
}

static MEMORY: AtomicU64 = AtomicU64::new(1);

impl Engine {
    /// Opens the database once, to know that it can be opened.
    pub fn open(options: Options) -> Result<Arc<Engine>, Error> {
        let target = match &options.path {
            Some(path) => location(path)?,
            None => format!(
                "file:/portcullis-{}?vfs=memdb",
                MEMORY.fetch_add(1, Ordering::Relaxed)
            ),
        };
        let anchor = connect(&target, &options)?;
        if options.path.is_some() {
            // Readers and the writer do not wait for each other.
            anchor
                .pragma_update(None, "journal_mode", "WAL")
                .map_err(|e| Error::Open(e.to_string()))?;
        }
        let permits = Arc::new(Semaphore::new(options.max));
        Ok(Arc::new(Engine {
            options,
            target,
            permits,
            _anchor: Mutex::new(anchor),
        }))
    }

    /// Links in use.
    pub fn in_use(&self) -> usize {
        self.options.max - self.permits.available_permits()
    }

    /// A link of its own for one session; waits for a free one, not forever.
    pub async fn connect(&self, identity: &Identity) -> Result<Link, Error> {
        let waiting =
            tokio::time::timeout(self.options.wait, Arc::clone(&self.permits).acquire_owned());
        let permit = match waiting.await {
            Ok(Ok(permit)) => permit,
            _ => return Err(Error::Exhausted(self.options.max)),
        };
        let watch = Watch::new();
        let (commands, inbox) = mpsc::channel(4);
        let (opened, ready) = oneshot::channel();
        let job = Job {
            target: self.target.clone(),
            options: self.options.clone(),
            identity: identity.clone(),
            watch: watch.clone(),
        };
        std::thread::Builder::new()
            .name("sqlite".into())
            .spawn(move || job.run(inbox, opened, permit))
            .map_err(|e| Error::Open(e.to_string()))?;
        ready.await.map_err(|_| Error::Gone)??;
        Ok(Link { commands, watch })
    }
}

fn location(path: &Path) -> Result<String, Error> {
    let text = path
        .to_str()
        .ok_or_else(|| Error::Open("the path is not UTF-8".into()))?;
    // A URI, so that a file name with `?` or `%` stays a file name.
    let absolute = std::path::absolute(text).map_err(|e| Error::Open(e.to_string()))?;
    let escaped = absolute
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    Ok(format!("file:{escaped}"))
}

fn connect(target: &str, options: &Options) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(target, flags)?;
        connection.busy_timeout(options.lock_timeout)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        // No writes to shadow tables and the schema table; "x" is never a string.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    open().map_err(|e| Error::Open(e.to_string()))
}

/// Everything a new thread needs.
struct Job {
    target: String,
    options: Options,
    identity: Identity,
    watch: Watch,
}

impl Job {
    fn run(
        self,
        inbox: mpsc::Receiver<Command>,
        opened: oneshot::Sender<Result<(), Error>>,
        permit: OwnedSemaphorePermit,
    ) {
        match self.prepare() {
            Ok((connection, tools)) => {
                if opened.send(Ok(())).is_ok() {
                    thread::serve(&connection, tools, inbox);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        }
        drop(permit);
    }

    fn prepare(&self) -> Result<(Connection, thread::Tools), Error> {
        let connection = connect(&self.target, &self.options)?;
        let names = catalog::Names::default();
        functions::register(&connection, &self.identity, &names)?;
        catalog::attach(&connection)?;
        let guard = Guard::install(&connection);
        let tally = Tally::install(&connection);
        self.watch.install(&connection);
        let tools = thread::Tools {
            guard,
            tally,
            names,
            watch: self.watch.clone(),
            lock_timeout: self.options.lock_timeout,
            identity: self.identity.clone(),
        };
        Ok((connection, tools))
    }
}

/// One connection. Dropping it stops what runs, rolls back and ends the thread.
pub struct Link {
    commands: mpsc::Sender<Command>,
    watch: Watch,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.watch.close();
    }
}

impl Link {
    /// For cancel requests.
    pub fn canceller(&self) -> Canceller {
        self.watch.canceller()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| Error::Gone)?;
        answer.await.map_err(|_| Error::Gone)?
    }

    /// Prepares one statement under a number of the caller's choice, and says what it is. Nothing runs.
    pub async fn prepare(
        &self,
        id: u64,
        text: Arc<str>,
        types: Vec<u32>,
    ) -> Result<Arc<Described>, Error> {
        self.ask(|reply| Command::Prepare {
            id,
            text,
            types,
            reply,
        })
        .await
    }

    /// The syntax error of a text that begins with no command at all; none for
    /// every text that SQLite might run. Nothing is run.
    pub async fn misspelled(&self, text: Arc<str>) -> Result<Option<Error>, Error> {
        self.ask(|reply| Command::Misspelled { text, reply }).await
    }

    /// Binds values; [`Error::Stale`] when the schema has changed since.
    pub async fn bind(&self, portal: u64, statement: u64, values: Vec<Value>) -> Result<(), Error> {
        self.ask(|reply| Command::Bind {
            portal,
            statement,
            values,
            reply,
        })
        .await
    }

    /// Runs a portal. Rows come in batches; the last event is `Done` or `Failed`.
    pub async fn fetch(&self, portal: u64, order: Order) -> Result<mpsc::Receiver<Event>, Error> {
        let (events, answers) = mpsc::channel(2);
        self.commands
            .send(Command::Fetch {
                portal,
                order,
                events,
            })
            .await
            .map_err(|_| Error::Gone)?;
        Ok(answers)
    }

    /// Forgets a portal.
    pub async fn close_portal(&self, portal: u64) -> Result<(), Error> {
        self.ask(|reply| Command::ClosePortal { portal, reply })
            .await
    }

    /// Forgets a statement; its portals live on.
    pub async fn close_statement(&self, id: u64) -> Result<(), Error> {
        self.ask(|reply| Command::CloseStatement { id, reply })
            .await
    }

    /// Begins, ends or marks a transaction.
    pub async fn control(&self, control: Control) -> Result<(), Error> {
        self.ask(|reply| Command::Control { control, reply }).await
    }

    /// Whether a transaction is open.
    pub async fn in_transaction(&self) -> Result<bool, Error> {
        self.ask(|reply| Command::InTransaction { reply }).await
    }

    /// Tables that the bound portal would read from end to end.
    pub async fn scans(&self, statement: u64, values: Vec<Value>) -> Result<Vec<Scan>, Error> {
        self.ask(|reply| Command::Scans {
            statement,
            values,
            reply,
        })
        .await
    }

    /// Rows in a table, counted up to `cap`.
    pub async fn rows_in(
        &self,
        schema: &'static str,
        table: String,
        cap: u64,
    ) -> Result<u64, Error> {
        self.ask(|reply| Command::RowsIn {
            schema,
            table,
            cap,
            reply,
        })
        .await
    }
}

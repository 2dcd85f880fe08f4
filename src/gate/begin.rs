//! How a session begins: its first link, its settings, its first words.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::aside::Awaited;
use super::brake::Brake;
use super::clock::Progress;
use super::expected::Queue;
use super::home::{Home, Patience};
use super::hooks::Admission;
use super::names::Names;
use super::roster::Presence;
use super::session::Session;
use super::settings::{self, Settings};
use super::source::Source;
use super::{Arrival, Error, Worker};
use crate::backend::postgres::catalog::Catalog;
use crate::backend::postgres::link::About;
use crate::backend::postgres::login::Target;
use crate::backend::postgres::pool::{LinkKey, Loan};
use crate::config::{PoolMode, Timeouts, User};
use crate::model::{SessionFacts, UserMessage};
use crate::safety::limit::Ledger;
use crate::wire::postgres::encode;

/// How long the first client waits for the catalog.
const FIRST_CATALOG_WAIT: Duration = Duration::from_secs(5);
/// Bytes a client may send ahead while its database is paused.
const AHEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves a client until it leaves.
pub async fn run<S>(
    mut arrival: Arrival<S>,
    worker: Rc<Worker>,
    source: Arc<Source>,
    admission: Admission,
    presence: Rc<Presence>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let target = source.target_for(&arrival.user);
    presence.runs_as(&target.user);
    let (waiting, notice) = (presence.waits(), Cell::new(None));
    let found = {
        let (stream, inbox) = (&mut arrival.stream, &mut arrival.inbox);
        let link = first_link(
            &mut arrival.parameters,
            &arrival.user,
            &worker,
            &source,
            target,
            &presence.brake,
            &notice,
        );
        attend(stream, inbox, &presence, &notice, Box::pin(link)).await
    };
    let found = match found {
        Err(Error::Ended(how)) => {
            let message = how.message(&arrival.client);
            return turn_away(&mut arrival.stream, &message, Error::Ended(how)).await;
        }
        found => found?,
    };
    drop(waiting);
    let first = match found {
        Ok(found) => found,
        Err(error) => {
            let message = error.to_string();
            let database = &arrival.database.name;
            worker.recorder.emit(&crate::telemetry::Event::LinkFailed {
                database,
                message: &message,
            });
            let message = match &error {
                Error::Overdue(message) => (**message).clone(),
                Error::Backend(error) => no_link(error),
                _ => return Err(error),
            };
            return turn_away(&mut arrival.stream, &message, error).await;
        }
    };
    // Limits need to know the tables: the first client after a start waits for them.
    if source.catalog.snapshot().is_none() {
        let _ = source.catalog.fresh(FIRST_CATALOG_WAIT).await;
    }
    let mut session = Session::new(arrival, worker, source.catalog.clone(), first, presence);
    let begun = Box::pin(session.begin()).await;
    if session.unsafe_encoding && begun.is_ok() {
        session.outbox.clear();
        let message =
            UserMessage::fatal("0A000", "this client_encoding is not supported by the gate")
                .hint("Connect with client_encoding set to UTF8.");
        encode::error(&mut session.outbox, &message);
        return Box::pin(session.leave(Ok(()))).await;
    }
    let result = match begun {
        Ok(true) => session.run(admission).await,
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    Box::pin(session.leave(result)).await
}

/// Waits for the first link, which may take long while the database is paused;
/// ends with the client.
async fn attend<S, T>(
    stream: &mut S,
    inbox: &mut BytesMut,
    presence: &Presence,
    notice: &Cell<Option<UserMessage>>,
    link: impl Future<Output = T>,
) -> Result<T, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut link = std::pin::pin!(link);
    loop {
        let room = inbox.len() < AHEAD_BYTES_MAX;
        tokio::select! {
            biased;
            how = presence.ended() => return Err(Error::Ended(how)),
            found = &mut link => return Ok(found),
            message = said(notice) => {
                let mut out = BytesMut::new();
                encode::notice(&mut out, &message);
                stream.write_all(&out).await.map_err(Error::ClientGone)?;
            }
            read = stream.read_buf(inbox), if room => match read {
                Ok(0) => return Err(Error::ClientGone(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(Error::ClientGone(error)),
            },
        }
    }
}

/// What somebody who waits is to be told; to be asked behind what may tell it.
pub(super) async fn said(notice: &Cell<Option<UserMessage>>) -> UserMessage {
    poll_fn(|_| notice.take().map_or(Poll::Pending, Poll::Ready)).await
}

/// The last words to a client that has no session yet.
async fn turn_away<S: AsyncWrite + Unpin>(
    stream: &mut S,
    message: &UserMessage,
    error: Error,
) -> Result<(), Error> {
    let mut out = BytesMut::new();
    encode::error(&mut out, message);
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
    Err(error)
}

type Startup = BTreeMap<Arc<str>, Arc<str>>;

/// What a session begins with.
struct First {
    timeouts: Timeouts,
    /// A link; none where nothing has to be asked before the first statement.
    loan: Option<Loan>,
    /// What the login to the server found.
    login: Arc<About>,
    home: Home,
    /// Settings the client asked for.
    startup: Startup,
    /// None of the start-up parameters changes plans.
    plain: bool,
}

/// Parameters that drivers set and no plan depends on.
fn is_plain(name: &str) -> bool {
    let plain = [
        "application_name",
        "client_encoding",
        "datestyle",
        "timezone",
        "extra_float_digits",
        "intervalstyle",
    ];
    plain.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Start-up settings that every server takes as they are.
fn need_no_server(startup: &Startup) -> bool {
    startup.keys().all(|name| &**name == "application_name")
}

/// The link a session begins with, and what its client asked for besides.
async fn first_link(
    parameters: &mut Vec<(String, String)>,
    user: &User,
    worker: &Worker,
    source: &Source,
    target: Target,
    brake: &Brake,
    notice: &Cell<Option<UserMessage>>,
) -> Result<First, Error> {
    let patience = Patience::of(source, user);
    let tell = async |message| notice.set(Some(message));
    let mut fixed: Vec<(String, String)> = Vec::new();
    if let Some(role) = &user.set_role {
        // As a start-up parameter it is also what RESET ALL and DISCARD ALL return to.
        parameters.retain(|(name, _)| !name.eq_ignore_ascii_case("role"));
        fixed.push(("role".to_owned(), role.to_string()));
    }
    let plain = parameters.iter().all(|(name, _)| is_plain(name));
    let mode = user.pool.mode.unwrap_or(source.pool.settings().mode);
    let timeouts = user.timeouts.or(source.timeouts);
    let cap = source.cap_of(user);
    let key = |parameters: Vec<(String, String)>, shared| LinkKey {
        user: target.user.clone(),
        parameters: parameters.into(),
        shared,
        cap: cap.clone(),
    };
    if mode != PoolMode::Session
        && let Some(startup) = settings::startup(parameters)
    {
        let lane = worker.lane(&source.pool, &key(fixed, true), &target);
        let known = lane.login().filter(|_| need_no_server(&startup));
        let (loan, login) = match known {
            Some(login) => (None, login),
            None => {
                brake.pass().await;
                let coming = lane.acquire();
                let mut loan = patience.wait(&source.pool, coming, tell).await?;
                // What others made of this link is not what the client asked for.
                loan.link.about = (*loan.link.handle).clone();
                let login = loan.link.handle.clone();
                (Some(loan), login)
            }
        };
        let home = Home::shared(source, user, lane, mode);
        return Ok(First {
            timeouts,
            loan,
            login,
            home,
            startup,
            plain,
        });
    }
    let mut all = parameters.clone();
    all.extend(fixed);
    brake.pass().await;
    let coming = source.pool.take(key(all, false), &target);
    let loan = patience.wait(&source.pool, coming, tell).await?;
    Ok(First {
        timeouts,
        login: Arc::new(loan.link.about.clone()),
        loan: Some(loan),
        home: Home::own(source, user),
        startup: Startup::new(),
        plain,
    })
}

/// What a client may know of a failed login to the server.
pub(super) fn no_link(error: &crate::backend::postgres::Error) -> UserMessage {
    use crate::backend::postgres::Error as Backend;
    match error {
        // The server's own words: the client is authenticated, and drivers look at the state.
        Backend::Refused(report) => UserMessage {
            detail: report.detail.clone(),
            hint: report.hint.clone(),
            ..UserMessage::fatal("08006", "")
        }
        .with_server(report),
        Backend::Unwanted(wanted) => UserMessage::fatal(
            "08006",
            format!("no database server that can be reached is {wanted}"),
        )
        .hint("The backend's target_session_attrs wants one."),
        _ => UserMessage::fatal("08006", "the database server cannot be reached"),
    }
}

impl UserMessage {
    pub(super) fn with_server(
        mut self,
        report: &crate::wire::postgres::report::Report,
    ) -> UserMessage {
        self.message = report.message.clone();
        // SQLSTATEs that clients act on; anything else is a failed connection.
        self.code = match report.code.as_str() {
            "3D000" => "3D000",
            "53300" => "53300",
            "57P03" => "57P03",
            "28000" => "28000",
            "22023" => "22023",
            "42601" => "42601",
            "42704" => "42704",
            _ => "08006",
        };
        self
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(
        arrival: Arrival<S>,
        worker: Rc<Worker>,
        catalog: Arc<Catalog>,
        first: First,
        presence: Rc<Presence>,
    ) -> Session<S> {
        let First {
            timeouts,
            loan,
            login: about,
            home,
            startup,
            plain,
        } = first;
        let facts = SessionFacts {
            role: about.role.clone(),
            search_path: about.search_path.clone(),
            ..SessionFacts::default()
        };
        let reported = about.parameters.clone();
        let limits = worker.config.load().limits.clone();
        let watch = worker.clock.watch(&timeouts);
        let mut session = Session {
            worker,
            id: presence.id(),
            presence,
            client: arrival.client,
            catalog,
            limits,
            watch,
            timeouts,
            progress: Progress::default(),
            stopped: None,
            stream: arrival.stream,
            inbox: arrival.inbox,
            outbox: BytesMut::new(),
            up: BytesMut::new(),
            down: BytesMut::new(),
            loan: None,
            home,
            pinned: None,
            dirty: false,
            dirty_names: false,
            names_epoch: 0,
            plain_settings: plain,
            wants: Settings::new(startup),
            reported,
            unnamed_here: false,
            called_off: false,
            failed: false,
            fresh: false,
            registration: arrival.registration,
            skip: 0,
            skip_drops: false,
            client_skip: 0,
            queue: Queue::default(),
            names: Names::default(),
            facts,
            discard: false,
            executed: 0,
            fence: false,
            nudged: false,
            watched: 0,
            role_moved: false,
            role_unsure: false,
            tidying: false,
            copy_in: false,
            copy_syncs: 0,
            doubtful: None,
            server_left: false,
            own_block: false,
            in_block: false,
            moment: Cell::default(),
            pulse: Cell::default(),
            last_found: RefCell::default(),
            rates: Default::default(),
            world: RefCell::default(),
            tainted: false,
            defining: false,
            unsure: false,
            reading_moved: false,
            coded: false,
            ticket: 0,
            waited: None,
            defaults: about.defaults,
            temporary: false,
            settings_changed: false,
            unsafe_encoding: false,
            single_byte: false,
            ledger: Ledger::default(),
            held: None,
            held_run: None,
            tags: Vec::new(),
            replacement: None,
            over_at_sync: None,
            ddl: false,
            own: super::own::Answer::default(),
            client_gone: false,
            draining: false,
            outdated: false,
            awaited: Awaited::default(),
            heard: 0,
            link_quiet: false,
        };
        for (name, value) in session.reported.clone() {
            session.note_setting(&name, &value);
        }
        let worker = session.worker.clone();
        session.wants.share(|settings| worker.intern(settings));
        if let Some(loan) = loan {
            session.attach(loan);
        }
        session
    }

    /// Settings of the client's own, then everything that follows AuthenticationOk.
    /// False: the server refuses the settings, and the client was told.
    async fn begin(&mut self) -> Result<bool, Error> {
        if self.loan.is_none() {
            // The only setting there can be; the server would report it in these words.
            if let Some(name) = self.wants.wanted().get("application_name").cloned() {
                self.note_report("application_name", &name);
            }
        } else if self.has_link() && !self.queue.is_empty() {
            // The answers that settings cause here are told below, as the server does at login.
            let sent = std::mem::take(&mut self.queue);
            drop(sent);
            self.queue
                .push(super::expected::Expected::Own(super::expected::Own::Ready));
            self.settle().await?;
            self.outbox.clear();
            let answer = std::mem::take(&mut self.own);
            if let Some(body) = answer.error {
                if let Some(loan) = self.loan.as_mut() {
                    loan.link.server = Default::default();
                }
                self.dirty = true;
                super::refuse::fatal(&mut self.outbox, &body);
                return Ok(false);
            }
        }
        if self.home.is_shared() {
            // The login's path and role are not those that the client has asked for.
            self.note_wanted();
            let path = self.wants.wanted().get("search_path");
            if path.is_some_and(|path| path.contains("pg_temp")) {
                self.pinned = Some(super::home::Pin::Temporary);
            }
        }
        for (name, value) in &self.reported {
            encode::parameter_status(&mut self.outbox, name, value);
        }
        self.fresh = false;
        let key = self.registration.key;
        encode::key_data(&mut self.outbox, key.pid, key.secret());
        encode::ready(&mut self.outbox, b'I');
        Ok(true)
    }
}

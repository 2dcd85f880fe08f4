//! Users that a server knows: asked by query, remembered for a moment.
//!
//! One connection at a time, one question for all who ask for the same name,
//! and a pause after a failure: neither a storm of logins nor a server that is
//! down makes the gate ask more often than that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Error;
use super::choose::login;
use super::link::Link;
use super::login::Target;
use crate::config::{AuthQuery, Secret};
use crate::wire::postgres::encode;
use crate::wire::postgres::frame::server;
use crate::wire::postgres::message;
use crate::wire::postgres::report::Report;

/// Names remembered, those that nobody has included.
const NAMES_MAX: usize = 10_000;

/// Longest name and longest stored password that are believed.
const TEXT_BYTES_MAX: usize = 2048;

/// A wrong password makes an answer older than this be asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long nothing is asked after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// TEXT, as which the name is sent.
const TEXT_OID: u32 = 25;

/// What the server keeps for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Verifier, hash, or whatever the query returns; none: no password is right.
    pub secret: Option<Secret>,
}

/// The server could not be asked; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("users cannot be looked up now")]
pub struct Unavailable;

/// An answer: nobody of that name, or what is kept for it.
pub type Answer = Result<Option<Arc<Found>>, Unavailable>;

/// The users of one database.
pub struct Directory {
    target: Target,
    settings: AuthQuery,
    side: Handle,
    /// Names remembered.
    most: usize,
    table: Mutex<Table>,
    link: tokio::sync::Mutex<Option<Link>>,
}

#[derive(Default)]
struct Table {
    names: HashMap<Arc<str>, Entry>,
    /// Nothing is asked before.
    paused_until: Option<Instant>,
}

enum Entry {
    Known {
        found: Option<Arc<Found>>,
        since: Instant,
    },
    Asking(watch::Receiver<Option<Answer>>),
}

impl Directory {
    /// `target` leads to the database in which to ask, as the user who asks.
    /// Questions are asked on `side`.
    pub fn new(target: Target, settings: AuthQuery, side: Handle) -> Arc<Directory> {
        Arc::new(Directory {
            target: Target {
                timeout: settings.timeout,
                ..target
            },
            settings,
            side,
            most: NAMES_MAX,
            table: Mutex::default(),
            link: tokio::sync::Mutex::default(),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the server keeps for this name.
    pub async fn find(self: &Arc<Self>, name: &str) -> Answer {
        // The server would cut it, and find somebody else.
        if name.is_empty() || name.len() > crate::model::pattern::NAME_BYTES_MAX {
            return Ok(None);
        }
        let mut asking = match self.look(name)? {
            Entry::Known { found, .. } => return Ok(found),
            Entry::Asking(asking) => asking,
        };
        let answered = asking.wait_for(Option::is_some).await;
        answered.map_or(Err(Unavailable), |answer| {
            answer.clone().unwrap_or(Err(Unavailable))
        })
    }

    /// Somebody was wrong about the password of this name: what is remembered may
    /// be old.
    pub fn mistaken(&self, name: &str) {
        let mut table = self.table();
        if let Some(Entry::Known { since, .. }) = table.names.get(name)
            && since.elapsed() >= AGAIN_AFTER
        {
            table.names.remove(name);
        }
    }

    /// What is known, or who is asking already; else somebody asks from now on.
    fn look(self: &Arc<Self>, name: &str) -> Result<Entry, Unavailable> {
        let mut table = self.table();
        match table.names.get(name) {
            Some(Entry::Known { found, since }) if since.elapsed() < self.settings.cache => {
                return Ok(Entry::Known {
                    found: found.clone(),
                    since: *since,
                });
            }
            Some(Entry::Asking(asking)) if asking.has_changed().is_ok() => {
                return Ok(Entry::Asking(asking.clone()));
            }
            _ => {}
        }
        if table
            .paused_until
            .is_some_and(|until| until > Instant::now())
        {
            return Err(Unavailable);
        }
        self.make_room(&mut table);
        if table.names.len() >= self.most {
            return Err(Unavailable);
        }
        let (sender, receiver) = watch::channel(None);
        let name: Arc<str> = name.into();
        let asking = Entry::Asking(receiver.clone());
        table.names.insert(name.clone(), asking);
        let directory = self.clone();
        // On its own: the client that asked first may leave.
        self.side.spawn(async move {
            let answer = directory.ask(&name).await;
            directory.settle(name, &answer);
            let _ = sender.send(Some(answer));
        });
        Ok(Entry::Asking(receiver))
    }

    /// Forgets what is old; then, under pressure, names that nobody has: whoever
    /// asks for ten thousand of them must not keep others out; then everything
    /// that can be asked again.
    fn make_room(&self, table: &mut Table) {
        let cache = self.settings.cache;
        let fresh = |since: &Instant| since.elapsed() < cache;
        for keep in [
            (|_, fresh| fresh) as fn(bool, bool) -> bool,
            |found, fresh| found && fresh,
            |_, _| false,
        ] {
            if table.names.len() < self.most {
                return;
            }
            table.names.retain(|_, entry| match entry {
                Entry::Known { found, since } => keep(found.is_some(), fresh(since)),
                Entry::Asking(asking) => asking.has_changed().is_ok(),
            });
        }
    }

    fn settle(&self, name: Arc<str>, answer: &Answer) {
        let mut table = self.table();
        match answer {
            Ok(found) => {
                let since = Instant::now();
                let found = found.clone();
                table.names.insert(name, Entry::Known { found, since });
            }
            Err(Unavailable) => {
                table.names.remove(&name);
                table.paused_until = Some(Instant::now() + PAUSE);
            }
        }
    }

    async fn ask(&self, name: &str) -> Answer {
        let asked = tokio::time::timeout(self.settings.timeout, self.query(name));
        let problem = match asked.await {
            Ok(Ok(found)) => return Ok(found.map(Arc::new)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        let database = &*self.target.database;
        tracing::error!(target: "portcullis::client", database, detail = problem, "users cannot be looked up");
        Err(Unavailable)
    }

    async fn query(&self, name: &str) -> Result<Option<Found>, Error> {
        let query = &self.settings.query;
        let mut place = self.link.lock().await;
        // Taken out: a question that is given up half-way takes its link with it.
        if let Some(mut link) = place.take()
            && link.socket.is_quiet()
            && let Ok(found) = ask_over(&mut link, query, name).await
        {
            *place = Some(link);
            return Ok(found);
        }
        let mut link = open(&self.target).await?;
        let found = ask_over(&mut link, query, name).await?;
        *place = Some(link);
        Ok(found)
    }
}

/// Asks once, over a connection of its own; with the reason when it fails.
pub async fn ask_once(
    target: Target,
    settings: &AuthQuery,
    name: &str,
) -> Result<Option<Found>, Error> {
    let work = async {
        let mut link = open(&target).await?;
        ask_over(&mut link, &settings.query, name).await
    };
    let bounded = tokio::time::timeout(settings.timeout, work).await;
    bounded.unwrap_or_else(|_| Err(Error::Connect(std::io::ErrorKind::TimedOut.into())))
}

async fn open(target: &Target) -> Result<Link, Error> {
    let parameters = [
        ("application_name", "portcullis"),
        // Nobody can put a function or an operator of his own before the system's.
        ("search_path", "pg_catalog"),
        ("default_transaction_read_only", "on"),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    login(target, &parameters).await
}

async fn ask_over(link: &mut Link, query: &str, name: &str) -> Result<Option<Found>, Error> {
    let mut out = BytesMut::new();
    encode::parse(&mut out, b"", query.as_bytes(), &[TEXT_OID]);
    let mut rest = BytesMut::new();
    rest.put_u16(0);
    rest.put_u16(1);
    rest.put_i32(name.len() as i32);
    rest.put_slice(name.as_bytes());
    rest.put_u16(0);
    encode::bind_rest(&mut out, b"", b"", &rest);
    encode::execute(&mut out, b"", 2);
    encode::sync(&mut out);
    link.socket.write_all_buf(&mut out).await?;
    link.socket.flush().await?;
    let (mut found, mut problem) = (Ok(None), None);
    loop {
        let (tag, body) = link.read_frame().await?;
        match tag {
            server::DATA_ROW => found = read_row(&body, name),
            server::ERROR => problem = Some(Error::Refused(Box::new(Report::read(&body)))),
            server::READY => break,
            _ => {}
        }
    }
    problem.map_or(found, Err)
}

/// Name and password. A row about somebody else is no answer.
fn read_row(body: &[u8], name: &str) -> Result<Option<Found>, Error> {
    let row = message::data_row(body)?;
    let [who, secret, ..] = &row[..] else {
        let problem = "the auth_query returns fewer than two columns";
        return Err(Error::Protocol(problem.into()));
    };
    if *who != Some(name.as_bytes()) {
        return Ok(None);
    }
    let secret = secret
        .map(|bytes| {
            let text = std::str::from_utf8(bytes).ok();
            text.filter(|text| text.len() <= TEXT_BYTES_MAX)
                .ok_or_else(|| Error::Protocol("the auth_query returns no password".into()))
        })
        .transpose()?
        .filter(|text| !text.is_empty())
        .map(Secret::new);
    Ok(Some(Found { secret }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ActAs;

    #[tokio::test]
    async fn names_that_nobody_has_do_not_keep_others_out() {
        let target = Target {
            hosts: crate::backend::postgres::hosts::Hosts::new(&Default::default()),
            database: "d".into(),
            user: "u".into(),
            password: None,
            proof: None,
            connect_query: None,
            timeout: Duration::from_secs(1),
            cancel_timeout: Duration::from_secs(1),
            lifetime: Duration::from_secs(60),
            tls: None,
        };
        let settings = AuthQuery {
            user: None,
            database: None,
            query: "SELECT $1, 'x'".into(),
            cache: Duration::from_secs(3600),
            timeout: Duration::from_secs(1),
            act_as: ActAs::Itself,
        };
        let directory = Directory {
            target,
            settings,
            side: Handle::current(),
            most: 3,
            table: Mutex::default(),
            link: tokio::sync::Mutex::default(),
        };
        let known = || Some(Arc::new(Found { secret: None }));
        for (name, found) in [("ann", known()), ("nobody", None), ("no one", None)] {
            directory.settle(name.into(), &Ok(found));
        }
        directory.make_room(&mut directory.table());
        let left: Vec<Arc<str>> = directory.table().names.keys().cloned().collect();
        assert_eq!(left, [Arc::from("ann")]);
        for name in ["bob", "cid"] {
            directory.settle(name.into(), &Ok(known()));
        }
        directory.make_room(&mut directory.table());
        assert!(directory.table().names.is_empty(), "all can be asked again");
    }
}

//! Stand-ins until the real ones land.
#![allow(missing_docs, dead_code)]
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;

use crate::config::{Config, Database, User};
use crate::model::*;
pub use crate::policy::{Asked, Judge, Outcome, Permit, PolicySet, Refused, Responded, Values};
use crate::safety::rate::Rates;
pub use crate::sql::analyze;
use crate::telemetry::Recorder;

pub trait Cancel: Send + Sync {
    fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
#[derive(Clone, Copy)]
pub struct CancelKey {
    pub pid: i32,
    pub secret: i32,
}
pub struct Registration {
    pub key: CancelKey,
}
impl Registration {
    pub async fn attach(&self, _: Arc<dyn Cancel>) {}
    pub async fn detach(&self) {}
}
pub struct Arrival<S> {
    pub stream: S,
    pub inbox: BytesMut,
    pub client: Arc<Client>,
    pub user: Arc<User>,
    pub database: Arc<Database>,
    pub parameters: Vec<(String, String)>,
    pub registration: Registration,
}
pub struct Worker {
    pub judge: RefCell<Judge>,
    pub recorder: Recorder,
    pub config: Arc<arc_swap::ArcSwap<Config>>,
    pub rates: Arc<Rates>,
    pub sessions: Arc<std::sync::atomic::AtomicU64>,
    pub drain: tokio::sync::watch::Receiver<bool>,
}
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the client went away")]
    ClientGone(#[source] std::io::Error),
    #[error("the client broke the protocol: {0}")]
    Client(#[source] crate::wire::postgres::Error),
    #[error(transparent)]
    Sqlite(#[from] crate::backend::sqlite::Error),
    #[error("the gate is shutting down")]
    Draining,
}

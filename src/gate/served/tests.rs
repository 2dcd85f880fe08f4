//! Real drivers and raw messages against a session, with the real default policies.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::LocalSet;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::backend::sqlite::{Engine, Options};
use crate::config::{self, Config};
use crate::gate::cancel::Cancels;
use crate::gate::{Arrival, Backends, Behind, Worker};
use crate::model::{Client, ProcessId};
use crate::policy::{Judge, Policies};
use crate::safety::rate::Rates;
use crate::telemetry::Telemetry;
use crate::wire::postgres::encode;

mod crud;
mod limits;
mod raw;

/// A gate with one worker and one database.
pub(super) struct House {
    engine: Arc<Engine>,
    worker: Rc<Worker>,
    config: Arc<Config>,
    _drain: tokio::sync::watch::Sender<bool>,
}

const BASE: &str = r#"
[[listen]]
protocol = "postgres"
address = "127.0.0.1:0"

[[database]]
name = "shop"
backend = "sqlite::memory:"

[[user]]
name = "ada"
auth = "trust"
"#;

impl House {
    /// With this configuration besides listener, database and user.
    pub(super) fn new(more: &str) -> Rc<House> {
        let text = format!("{more}\n{BASE}");
        let config =
            config::parse(&text, "test.toml", &|_| None).unwrap_or_else(|d| panic!("{d:?}"));
        let policies = Policies::load(&config).unwrap_or_else(|e| panic!("{e:?}"));
        let config = Arc::new(config);
        let (sender, drain) = tokio::sync::watch::channel(false);
        let worker = Worker::new(
            Judge::new(policies),
            Telemetry::new(false).recorder(),
            Arc::new(arc_swap::ArcSwap::new(config.clone())),
            Arc::new(Rates::new()),
            Arc::default(),
            drain,
            Arc::default(),
        );
        let engine = Engine::open(Options::new(None)).unwrap();
        Rc::new(House {
            engine,
            worker,
            config,
            _drain: sender,
        })
    }

    /// A connection whose start-up packet the house takes for granted.
    pub(super) fn open(self: &Rc<Self>) -> DuplexStream {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let house = self.clone();
        tokio::task::spawn_local(async move {
            let length = far.read_i32().await.unwrap();
            let mut packet = vec![0; length as usize - 4];
            far.read_exact(&mut packet).await.unwrap();
            far.write_all(b"R\0\0\0\x08\0\0\0\0").await.unwrap();
            let arrival = Arrival {
                stream: far,
                ends: Default::default(),
                inbox: BytesMut::new(),
                client: Arc::new(Client {
                    user: "ada".into(),
                    database: "shop".into(),
                    address: None,
                }),
                user: house.config.users[0].clone(),
                database: house.config.databases[0].clone(),
                parameters: vec![("application_name".into(), "test".into())],
                registration: Arc::new(Cancels::new(ProcessId::new(7), None)).register(false),
            };
            let behind = Behind::Sqlite(house.engine.clone());
            let backends = Backends([("shop".into(), behind)].into_iter().collect(), None);
            let _ = crate::gate::serve(arrival, house.worker.clone(), &backends).await;
        });
        near
    }

    /// Runs a statement behind the gate's back.
    pub(super) async fn behind(&self, text: &str) {
        let link = self.engine.connect(&Default::default()).await.unwrap();
        link.prepare(1, text.into(), Vec::new()).await.unwrap();
        link.bind(1, 1, Vec::new()).await.unwrap();
        let mut events = link.fetch(1, Default::default()).await.unwrap();
        while let Some(event) = events.recv().await {
            assert!(
                !matches!(event, crate::backend::sqlite::Event::Failed(_)),
                "{text}: {event:?}"
            );
        }
    }

    /// A driver.
    pub(super) async fn client(self: &Rc<Self>) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::Config::new()
            .user("ada")
            .dbname("shop")
            .connect_raw(self.open(), NoTls)
            .await
            .unwrap();
        tokio::task::spawn_local(connection);
        client
    }
}

/// Runs a test where tasks need not be Send.
pub(super) fn local<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limit = std::time::Duration::from_secs(60);
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(limit, test)
            .await
            .expect("the test hangs")
    });
}

/// SQLSTATE of an error, and its message.
pub(super) fn code(error: &tokio_postgres::Error) -> String {
    error
        .code()
        .map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

/// First column of all rows of a simple query.
pub(super) async fn texts(client: &tokio_postgres::Client, text: &str) -> Vec<String> {
    let messages = client
        .simple_query(text)
        .await
        .unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    rows.collect()
}

/// Raw messages: what is sent, and what comes back as type bytes and bodies.
pub(super) struct Wire(DuplexStream);

impl Wire {
    pub(super) async fn new(house: &Rc<House>) -> Wire {
        let mut wire = Wire(house.open());
        wire.0.write_all(b"\0\0\0\x08\0\x03\0\0").await.unwrap();
        wire.until_ready().await;
        wire
    }

    pub(super) async fn send(&mut self, build: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        build(&mut out);
        self.0.write_all(&out).await.unwrap();
    }

    pub(super) async fn frame(&mut self) -> (char, Vec<u8>) {
        let tag = self.0.read_u8().await.unwrap();
        let length = self.0.read_i32().await.unwrap();
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body).await.unwrap();
        (char::from(tag), body)
    }

    /// Everything up to ReadyForQuery: type bytes, with tag, SQLSTATE or status behind them.
    pub(super) async fn until_ready(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let (tag, body) = self.frame().await;
            let text = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes)
                    .trim_end_matches('\0')
                    .to_owned()
            };
            seen.push(match tag {
                'C' => format!("C {}", text(&body)),
                'E' | 'N' => {
                    let code = body
                        .split(|b| *b == 0)
                        .find_map(|field| field.strip_prefix(b"C"));
                    format!("{tag} {}", text(code.unwrap_or_default()))
                }
                'Z' => format!("Z {}", text(&body)),
                other => other.to_string(),
            });
            if tag == 'Z' {
                return seen;
            }
        }
    }

    pub(super) async fn query(&mut self, text: &str) -> Vec<String> {
        self.send(|out| encode::query(out, text)).await;
        self.until_ready().await
    }
}

/// The first value of a DataRow.
pub(super) fn first_value(mut body: &[u8]) -> Vec<u8> {
    body.advance(2);
    let length = body.get_i32() as usize;
    body[..length].to_vec()
}

//! Whatever takes too long ends, with a reason, and both sides agree on what is left.

mod ends;
mod query;
mod waiting;

use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::database::{Database, OWNER, fresh_database};
use crate::support::gate::{DATABASE, Gate};
use crate::support::raw::{Login, Raw};

const QUIET: &str = "[[policy]]\nname = \"require-where\"\nmode = \"off\"\n\n[[policy]]\nname = \"plan-guard\"\nmode = \"off\"\n";

/// A database behind a gate with time limits.
struct Scene {
    database: Database,
    gate: Gate,
}

impl Scene {
    /// `pool` and `timeouts` of the database; user `patient` has no timeouts.
    fn new(pool: &str, timeouts: &str, setup: &str) -> Option<Scene> {
        let database = fresh_database()?;
        database.prepare(setup);
        let backend = database.url();
        Some(Scene::with(database, &backend, pool, timeouts))
    }

    fn with(database: Database, backend: &str, pool: &str, timeouts: &str) -> Scene {
        let head = format!(
            "[[database]]\nname = \"{DATABASE}\"\nbackend = \"{backend}\"\n\
             operator = {{ user = \"postgres\" }}\npool = {{ {pool} }}\ntimeouts = {{ {timeouts} }}\n\n\
             [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n\
             [[user]]\nname = \"patient\"\nauth = \"trust\"\npool = {{ wait_timeout = 0, wait_notice = 0 }}\n\
             timeouts = {{ query = 0, transaction = \"0s\", idle_transaction = \"0\", client_idle = 0 }}\n\n"
        );
        let gate = Gate::start_with(&head, QUIET);
        Scene { database, gate }
    }

    fn client(&self) -> Raw {
        self.gate.connect()
    }

    fn patient(&self) -> Raw {
        Raw::login(self.gate.address, &Login::new("patient", DATABASE))
    }

    /// Statements that run on the server for clients of the gate.
    fn busy(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' \
                   AND datname = current_database() AND state <> 'idle'";
        self.database.admin().value(sql).parse().unwrap()
    }

    fn wait_until_idle(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.busy() > 0 {
            assert!(Instant::now() < deadline, "a server connection stays busy");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The next message must be this end of the connection, after about this time.
fn expect_end(raw: &mut Raw, since: Instant, code: &str, limit: Duration) {
    let answer = raw.receive().expect("a reason");
    let took = since.elapsed();
    assert_eq!(answer.code(), code, "{}", answer.line());
    assert!(answer.line().contains("FATAL"), "{}", answer.line());
    assert!(answer.line().contains("detail="), "{}", answer.line());
    // The gate has seen the last message a moment before its answer was here.
    let early = took + Duration::from_millis(50) < limit;
    assert!(!early && took < limit + Duration::from_secs(3), "{took:?}");
    assert!(raw.receive().is_none(), "the connection is closed");
}

/// Whether one of the answers is the gate's own about a statement.
fn timed_out(answers: &[Answer]) -> bool {
    answers
        .iter()
        .any(|a| a.tag == b'E' && a.code() == "57014" && a.line().contains("due to query timeout"))
}

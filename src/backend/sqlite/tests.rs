//! The engine and its links, without a protocol in front.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::backend::rows::{Row, Type, Value};

struct Bench {
    link: Link,
    next: std::cell::Cell<u64>,
}

impl Bench {
    async fn new(engine: &Arc<Engine>) -> Bench {
        let identity = Identity {
            user: "ada".into(),
            database: "shop".into(),
            pid: 7,
        };
        Bench {
            link: engine.connect(&identity).await.unwrap(),
            next: std::cell::Cell::new(1),
        }
    }

    async fn describe(&self, text: &str) -> Result<(u64, Arc<Described>), Error> {
        let id = self.next.replace(self.next.get() + 1);
        Ok((id, self.link.prepare(id, text.into(), Vec::new()).await?))
    }

    async fn run(&self, text: &str) -> Result<(Vec<Row>, Done), Error> {
        self.run_with(
            text,
            Vec::new(),
            Order {
                exact: true,
                ..Order::default()
            },
        )
        .await
    }

    async fn run_with(
        &self,
        text: &str,
        values: Vec<Value>,
        order: Order,
    ) -> Result<(Vec<Row>, Done), Error> {
        let (id, _) = self.describe(text).await?;
        self.link.bind(id, id, values).await?;
        self.fetch(id, order).await
    }

    async fn fetch(&self, portal: u64, order: Order) -> Result<(Vec<Row>, Done), Error> {
        let mut events = self.link.fetch(portal, order).await?;
        let mut rows = Vec::new();
        loop {
            match events.recv().await {
                Some(Event::Rows(batch)) => rows.extend(batch),
                Some(Event::Done(done)) => return Ok((rows, done)),
                Some(Event::Failed(error)) => return Err(error),
                None => return Err(Error::Gone),
            }
        }
    }

    async fn count(&self, text: &str) -> u64 {
        let (_, done) = self
            .run(text)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        done.statement.iter().map(Changes::total).sum()
    }

    async fn number(&self, text: &str) -> i64 {
        match self
            .run(text)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .0[0][0]
        {
            Value::Integer(n) => n,
            ref other => panic!("{other:?}"),
        }
    }
}

fn memory() -> Arc<Engine> {
    Engine::open(Options {
        lock_timeout: Duration::from_millis(200),
        ..Options::new(None)
    })
    .unwrap()
}

#[tokio::test]
async fn sessions_share_a_database_in_memory() {
    let engine = memory();
    let (a, b) = (Bench::new(&engine).await, Bench::new(&engine).await);
    a.run("create table t (id int)").await.unwrap();
    a.run("insert into t values (1), (2)").await.unwrap();
    assert_eq!(b.number("select count(*) from t").await, 2);
}

#[tokio::test]
async fn counts_every_row_that_changes_by_any_way() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    for text in [
        "create table p (id integer primary key, u int unique)",
        "create table c (id integer primary key, p int references p(id) on delete cascade)",
        "create table audit (what text)",
        "create table keyed (k text primary key, v int) without rowid",
        "create trigger gone after delete on c begin insert into audit values ('c'); end",
        "create view pv as select * from p",
        "create trigger pv_delete instead of delete on pv begin delete from p where id = old.id; end",
        "insert into p select value, value from json_each('[1,2,3,4,5,6,7,8,9,10]')",
        "insert into c select value, value from json_each('[1,2,3,4,5]')",
    ] {
        bench
            .run(text)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    let cases = [
        ("delete from p where id = 1", 3),
        ("delete from pv where id = 2", 3),
        ("update p set u = u + 100 where id = 3", 1),
        ("insert or replace into p values (30, 103), (31, 31)", 5),
        ("insert into keyed values ('a', 1), ('b', 2)", 2),
        ("delete from keyed", 2),
        (
            "insert into p values (4, 9) on conflict (id) do update set u = 99",
            1,
        ),
        ("delete from audit", 3),
        (
            "with x as (select 6 as id) delete from p where id in (select id from x)",
            1,
        ),
        ("select count(*) from p", 0),
        ("create table copied as select 1", 0),
    ];
    for (text, expected) in cases {
        assert_eq!(bench.count(text).await, expected, "{text}");
    }
    assert_eq!(bench.number("select count(*) from audit").await, 0);
    let (rows, done) = bench.run("delete from p").await.unwrap();
    assert!(rows.is_empty());
    assert_eq!(done.affected, 8);
}

#[tokio::test]
async fn changes_undone_by_a_savepoint_do_not_count() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    bench.run("create table t (id int)").await.unwrap();
    bench.link.control(Control::Begin(true)).await.unwrap();
    bench.run("insert into t values (1)").await.unwrap();
    bench
        .link
        .control(Control::Savepoint("s".into()))
        .await
        .unwrap();
    bench.run("insert into t values (2), (3)").await.unwrap();
    bench
        .link
        .control(Control::RollbackTo("s".into()))
        .await
        .unwrap();
    let (_, done) = bench.run("insert into t values (4)").await.unwrap();
    assert_eq!(done.transaction.iter().map(Changes::total).sum::<u64>(), 2);
    bench.link.control(Control::Commit).await.unwrap();
    assert_eq!(bench.number("select count(*) from t").await, 2);
}

#[tokio::test]
async fn portals_go_on_where_they_stopped_and_returning_changes_all_at_once() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    bench.run("create table t (id int)").await.unwrap();
    bench.link.control(Control::Begin(true)).await.unwrap();
    let (id, described) = bench
        .describe("insert into t select value from json_each('[1,2,3]') returning id")
        .await
        .unwrap();
    assert!(!described.readonly);
    bench.link.bind(1000, id, Vec::new()).await.unwrap();
    let (rows, done) = bench
        .fetch(
            1000,
            Order {
                rows: 1,
                ..Order::default()
            },
        )
        .await
        .unwrap();
    assert_eq!((rows.len(), done.suspended), (1, true));
    assert_eq!(done.statement[0].total(), 3);
    let (rows, done) = bench.fetch(1000, Order::default()).await.unwrap();
    assert_eq!((rows.len(), done.suspended), (2, false));
    bench.link.bind(1001, id, Vec::new()).await.unwrap();
    bench
        .fetch(
            1001,
            Order {
                rows: 1,
                ..Order::default()
            },
        )
        .await
        .unwrap();
    bench.link.control(Control::Commit).await.unwrap();
    assert_eq!(bench.number("select count(*) from t").await, 6);
}

#[tokio::test]
async fn says_what_a_statement_touches_through_views_and_triggers() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    bench.run("create table secret (a)").await.unwrap();
    bench
        .run("create view harmless as select a from secret")
        .await
        .unwrap();
    bench.run("create table t (a)").await.unwrap();
    bench
        .run("create trigger tr after insert on t begin delete from secret; end")
        .await
        .unwrap();
    let touches = |d: &Described| {
        d.reach
            .touches
            .iter()
            .map(|t| t.name.clone())
            .collect::<Vec<_>>()
    };
    let (id, described) = bench
        .describe("select count(*) from harmless")
        .await
        .unwrap();
    assert!(touches(&described).contains(&"secret".to_owned()));
    assert!(described.readonly);
    let (_, insert) = bench.describe("insert into t values (1)").await.unwrap();
    assert!(touches(&insert).contains(&"secret".to_owned()));
    bench.run("drop view harmless").await.unwrap();
    assert_eq!(bench.link.bind(5, id, Vec::new()).await, Err(Error::Stale));
}

#[tokio::test]
async fn a_statement_is_stale_when_another_link_changes_the_schema() {
    let engine = memory();
    let (a, b) = (Bench::new(&engine).await, Bench::new(&engine).await);
    for text in [
        "create table t (a)",
        "create table u (a)",
        "create view v as select a from t",
    ] {
        a.run(text).await.unwrap();
    }
    let (id, _) = a.describe("select a from v").await.unwrap();
    a.link.bind(1, id, Vec::new()).await.unwrap();
    a.fetch(1, Order::default()).await.unwrap();
    b.run("drop view v").await.unwrap();
    b.run("create view v as select a from u").await.unwrap();
    a.link.control(Control::Begin(false)).await.unwrap();
    assert_eq!(a.link.bind(2, id, Vec::new()).await, Err(Error::Stale));
    let (_, again) = a.describe("select a from v").await.unwrap();
    assert!(
        again.reach.touches.iter().any(|t| t.name == "u"),
        "{:?}",
        again.reach
    );
}

#[tokio::test]
async fn closes_the_ways_out_of_the_database() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    for text in [
        "attach '/tmp/x.db' as x",
        "detach pg_catalog",
        "vacuum into '/tmp/x.db'",
        "pragma writable_schema = on",
        "pragma journal_mode = delete",
        "pragma foreign_keys = off",
        "select load_extension('x')",
        "insert into pg_catalog.pg_class (oid) values (1)",
        "drop table pg_catalog.pg_class",
        "create virtual table v using dbstat",
        "select 1; delete from sqlite_master",
        "delete from sqlite_master",
        "select * from t where a = ?",
    ] {
        let outcome = bench.run(text).await;
        assert!(outcome.is_err(), "{text}");
    }
    bench.run("pragma table_info('t')").await.unwrap();
    assert!(!std::path::Path::new("/tmp/x.db").exists());
}

#[tokio::test]
async fn stops_on_cancel_and_on_timeout_and_stays_usable() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    let endless =
        "with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r";
    let order = Order {
        timeout: Some(Duration::from_millis(100)),
        ..Order::default()
    };
    let error = bench
        .run_with(endless, Vec::new(), order)
        .await
        .unwrap_err();
    assert_eq!(
        (
            error.code(),
            error.to_string().contains("statement timeout")
        ),
        ("57014", true)
    );
    let canceller = bench.link.canceller();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        canceller.cancel();
    });
    assert_eq!(bench.run(endless).await.unwrap_err().code(), "57014");
    assert_eq!(bench.number("select 1").await, 1);
}

#[tokio::test]
async fn a_dropped_link_stops_rolls_back_and_frees_its_place() {
    let engine = Engine::open(Options {
        max: 1,
        wait: Duration::from_secs(5),
        ..Options::new(None)
    })
    .unwrap();
    let bench = Bench::new(&engine).await;
    bench.run("create table t (id int)").await.unwrap();
    bench.link.control(Control::Begin(true)).await.unwrap();
    bench.run("insert into t values (1)").await.unwrap();
    let (id, _) = bench
        .describe("with recursive r(n) as (select 1 union all select n + 1 from r) select n from r")
        .await
        .unwrap();
    bench.link.bind(1, id, Vec::new()).await.unwrap();
    let mut events = bench.link.fetch(1, Order::default()).await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Rows(_))));
    drop((events, bench));
    let again = Bench::new(&engine).await;
    assert_eq!(again.number("select count(*) from t").await, 0);
}

#[tokio::test]
async fn plans_tell_which_tables_are_scanned() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    bench
        .run("create table t (id integer primary key, a int)")
        .await
        .unwrap();
    for (text, expected) in [
        ("select * from t where a = 1", 1),
        ("select * from t where id = 1", 0),
        ("select 1", 0),
    ] {
        let (id, _) = bench.describe(text).await.unwrap();
        assert_eq!(
            bench.link.scans(id, Vec::new()).await.unwrap().len(),
            expected,
            "{text}"
        );
    }
}

#[tokio::test]
async fn types_come_from_the_schema_and_the_text() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    bench.run("create table t (id bigserial primary key, ok boolean, at timestamptz default now(), price numeric(10,2), n varchar(5))").await.unwrap();
    let (_, d) = bench
        .describe("select t.*, count(*) over () as c from t where id = $1 and ok = $2")
        .await
        .unwrap();
    let kinds: Vec<u32> = d.columns.iter().map(|c| c.kind.oid).collect();
    assert_eq!(kinds, [20, 16, 1184, 1700, 1043, 20]);
    assert_eq!(d.parameters, [Type::INT8, Type::BOOL]);
    bench.run("insert into t (ok) values (true)").await.unwrap();
    let (rows, _) = bench.run("select id, at from t").await.unwrap();
    assert_eq!(rows[0][0], Value::Integer(1));
    assert!(matches!(&rows[0][1], Value::Text(t) if t.len() == 19));
}

#[tokio::test]
async fn speaks_some_postgresql() {
    let engine = memory();
    let bench = Bench::new(&engine).await;
    bench
        .run("create table t (id int, name text)")
        .await
        .unwrap();
    bench
        .run("insert into t values (1, 'Ada'), (2, 'Bob'), (3, 'Cid')")
        .await
        .unwrap();
    for (text, expected) in [
        (
            "select count(*)::int from public.t where name ilike 'a%'",
            1,
        ),
        ("select count(*) from t where id = any('{1,3}')", 2),
        ("select count(*) from t where id = any(array[1, 2])", 2),
        ("select count(*) from t where id <> all('{1,3}')", 1),
        ("select count(*) from t where name ~ '^[AB]'", 2),
        ("select count(*) from t where name !~* '^a'", 2),
        (
            "select extract(year from '2024-05-06 01:02:03'::timestamp)::int",
            2024,
        ),
        ("select strpos('abc', 'c')", 3),
        ("select length(left('abcdef', -2) || E'\\n' || $$x$$)", 6),
        ("select cast('12' as integer) + 1", 13),
        (
            "select count(*) from pg_catalog.pg_class where relname = 't'",
            1,
        ),
        (
            "select count(*) from information_schema.columns where table_name = 't'",
            2,
        ),
        ("select (now() > '2020-01-01')::int", 1),
        (
            "select count(*) from (select * from t order by id fetch first 2 rows only) x",
            2,
        ),
    ] {
        assert_eq!(bench.number(text).await, expected, "{text}");
    }
}

#[tokio::test]
async fn a_text_without_a_command_is_a_syntax_error_and_nothing_else_is() {
    let engine = Engine::open(Options::new(None)).unwrap();
    let bench = Bench::new(&engine).await;
    bench.run("CREATE TABLE t (id INTEGER)").await.unwrap();
    let misspelled = async |text: &str| bench.link.misspelled(text.into()).await.unwrap();
    for (text, word) in [
        ("SELEC 1", "SELEC"),
        ("  /* x */ delet FROM t", "delet"),
        ("foo", "foo"),
        ("\"t\" = 1", "\"t\""),
        ("selec 1; DROP TABLE t", "selec"),
    ] {
        let error = misspelled(text).await.unwrap_or_else(|| panic!("{text}"));
        assert_eq!(error.code(), "42601");
        let expected = format!("42601: syntax error at or near \"{word}\"");
        assert_eq!(error.to_string(), expected, "{text}");
    }
    for text in [
        "",
        "1",
        "(SELECT 1)",
        "SELECT 1",
        "SELECT FROM WHERE",
        "DROP TABLE t",
        "delete from",
        "PRAGMA writable_schema = 1",
        "ATTACH 'x' AS y",
        "'selec'",
        ";; DELETE FROM t",
    ] {
        assert_eq!(misspelled(text).await, None, "{text}");
    }
    let (rows, _) = bench.run("SELECT count(*) FROM t").await.unwrap();
    assert_eq!(rows.len(), 1, "the table is still there");
}

//! Statements, their facts, and what they must be found to change.

use portcullis::model::{Access, Facts, Kind};

use super::fixture::{DELETE, INSERT, READ, UPDATE, calling, column, dml, facts};

pub(super) struct Case {
    pub(super) sql: &'static str,
    pub(super) facts: Facts,
    /// Tables that change, `plain` in front when the tag is exact, `opaque` when there is no bound.
    pub(super) expect: &'static str,
}

pub(super) fn case(sql: &'static str, facts: Facts, expect: &'static str) -> Case {
    Case { sql, facts, expect }
}

pub(super) fn cases() -> Vec<Case> {
    let delete = |table: &str| dml(Kind::Delete, table, DELETE | READ);
    let update = |table: &str| dml(Kind::Update, table, UPDATE | READ);
    let insert = |table: &str| dml(Kind::Insert, table, INSERT);
    let select = |table: &str| dml(Kind::Select, table, READ);
    vec![
        case("delete from plain where id = 99", delete("plain"), "opaque"),
        case(
            "delete from checked",
            delete("public.checked"),
            "plain checked",
        ),
        case(
            "update plain set v = 'x'",
            update("public.plain"),
            "plain plain",
        ),
        case(
            "insert into plain select i, 'x' from generate_series(10, 20) i on conflict (id) do update set v = 'y'",
            dml(Kind::Insert, "public.plain", INSERT | UPDATE),
            "plain plain",
        ),
        case(
            "copy plain from program 'true'",
            delete("public.plain"),
            "plain plain",
        ),
        case("delete from users", delete("users"), "items orders users"),
        case(
            "update users set name = 'x'",
            update("users"),
            "orders users",
        ),
        case(
            "insert into users values (100, 'x')",
            insert("users"),
            "plain users",
        ),
        case("delete from orders", delete("orders"), "items orders"),
        case("delete from tree where id = 1", delete("tree"), "tree"),
        case(
            "delete from v_users",
            delete("v_users"),
            "items orders users v_users",
        ),
        case(
            "delete from v_instead",
            delete("v_instead"),
            "audited logs v_instead",
        ),
        case("delete from audited", delete("audited"), "audited logs"),
        case(
            "insert into audited values (1, 'x')",
            insert("audited"),
            "audited",
        ),
        case("update touched set v = 'x'", update("touched"), "touched"),
        case("delete from ruled", delete("ruled"), "logs ruled"),
        case(
            "delete from events",
            delete("events"),
            "plain events events_1 events_2",
        ),
        case(
            "update events set day = day + 40",
            update("events"),
            "plain events events_1 events_2",
        ),
        case("delete from events_1", delete("events_1"), "plain events_1"),
        case("delete from base", delete("base"), "plain base derived"),
        case(
            "delete from only base",
            delete("base"),
            "plain base derived",
        ),
        case("insert into late values (1)", insert("late"), "late logs"),
        case(
            "insert into defaulted(v) values (1)",
            insert("defaulted"),
            "defaulted items orders users",
        ),
        case(
            "insert into guarded values (1, 1)",
            insert("guarded"),
            "plain guarded",
        ),
        case(
            "with gone as (delete from users returning 1) select * from gone",
            facts(Kind::Select, &[("cte:users", DELETE | READ)]),
            "items orders users",
        ),
        case(
            "with gone as (delete from logs returning 1) delete from checked",
            facts(
                Kind::Delete,
                &[("cte:logs", DELETE | READ), ("checked", DELETE | READ)],
            ),
            "checked logs",
        ),
        case(
            "select purge()",
            calling(Facts::empty(Kind::Select), "purge"),
            "items orders users",
        ),
        case(
            "select outer_purge()",
            calling(Facts::empty(Kind::Select), "outer_purge"),
            "items orders users",
        ),
        case(
            "select purge_any('logs')",
            calling(Facts::empty(Kind::Select), "purge_any"),
            "opaque",
        ),
        case(
            "select * from atomic_purge()",
            calling(Facts::empty(Kind::Select), "atomic_purge"),
            "items orders users",
        ),
        case(
            "select u.purge_row from users u",
            column(select("users"), "purge_row"),
            "items orders users",
        ),
        case(
            "select pure(1)",
            calling(Facts::empty(Kind::Select), "pure"),
            "",
        ),
        case(
            "select peek()",
            calling(Facts::empty(Kind::Select), "peek"),
            "",
        ),
        case(
            "update plain set v = pure(1)",
            calling(update("public.plain"), "pure"),
            "plain plain",
        ),
        case(
            "update plain set v = purge()",
            calling(update("public.plain"), "purge"),
            "items orders plain users",
        ),
        case(
            "call purge_all()",
            calling(Facts::empty(Kind::Call), "purge_all"),
            "items orders users",
        ),
        case(
            "do 'begin delete from users; end'",
            Facts::empty(Kind::Do),
            "opaque",
        ),
        case(
            "select query_to_xml('delete from users returning 1', true, false, '')",
            calling(Facts::empty(Kind::Select), "query_to_xml"),
            "opaque",
        ),
        case("select * from v_xml", select("v_xml"), "opaque"),
        case(
            "explain analyze delete from logs",
            facts(Kind::Explain, &[("logs", DELETE | READ)]),
            "logs",
        ),
        case("select * from v_deep", select("v_deep"), ""),
        case("select relname from pg_class", select("pg_class"), ""),
        case(
            "alter table touched alter v type varchar(9)",
            dml(Kind::Alter, "touched", Access::ALTER),
            "opaque",
        ),
        case("begin", Facts::empty(Kind::Begin), ""),
    ]
}

/// Ways to write that a reader could overlook. All of them run.
pub(super) const HOSTILE: &[&str] = &[
    "merge into logs l using users u on l.id = u.id when matched then delete",
    "with d as (delete from logs returning *), e as (update plain set v = 'y' returning *) select * from d, e",
    "insert into checked select purge(), null",
    "values (purge())",
    "table logs",
    "select 1 where purge() = 1",
    "select 1 order by purge()",
    "select count(*) filter (where purge() > 0) from logs",
    "select u.purge_row from users as u",
    "select (u).purge_row from users as u",
    "select purge_row(u) from users u",
    "select users.purge_row from users",
    "select \"u\".\"purge_row\" from users u",
    "select x.purge_row from (select u.* from users u) x, lateral (select 1) y",
    "select public.purge()",
    "select \"purge\"()",
    "select PURGE()",
    "select/**/purge/* x */()",
    "select * from purge()",
    "select * from rows from (purge(), pure(1))",
    "select case when true then purge() end",
    "select array[purge()]",
    "select row(purge())",
    "select (select purge())",
    "select exists (select purge())",
    "select 1 in (select purge())",
    "select lag(purge()) over ()",
    "select 1 limit purge()",
    "insert into logs values (1, 'x') returning purge()",
    "insert into logs (id) values (purge())",
    "insert into plain values (1, 'x') on conflict (id) do update set v = purge()",
    "update logs set what = 'x' where id = purge()",
    "update logs set id = u.id from users u where u.id = logs.id and purge() > 0",
    "delete from logs using users where purge() > 0",
    "update v_users set name = 'x'",
    "insert into v_users values (500, 'x')",
    "delete from only events",
    "update only base set id = 1",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < purge()) select * from r",
    "create table made as with d as (delete from logs returning *) select * from users",
    "create temp table made as select purge()",
    "select purge() into made",
    "create view made as select purge() as p",
    "create materialized view made as select purge() as p",
    "create index on logs (pure(id))",
    "declare c cursor for select purge()",
    "explain analyze select purge()",
    "explain (analyze, buffers) with d as (delete from users returning 1) select * from d",
    "explain delete from users",
    "prepare p as delete from users",
    "copy (delete from logs returning *) to stdout",
    "copy (select purge()) to stdout",
    "lock table users",
    "select * from users for update",
    "do $$ begin perform purge(); end $$",
    "call purge_all()",
    "truncate logs",
    "truncate users cascade",
    "drop table logs cascade",
    "alter table logs alter column id type bigint using purge()",
    "alter table logs add column z int default purge()",
    "alter table logs add check (purge() > 0)",
    "refresh materialized view m_purge",
    "reindex table plain",
    "set constraints all immediate",
    "savepoint s",
    "comment on table logs is 'x'",
    "grant select on logs to public",
    "analyze logs",
    "notify x",
    "listen x",
    "set search_path = other",
    "select set_config('search_path', 'other', true)",
    "select query_to_xml('delete from users returning 1', true, false, '')",
    "select table_to_xml('v_purge', true, false, '')",
    "select * from v_purge",
];

/// Objects that only [`HOSTILE`] needs.
pub(super) const HOSTILE_SCHEMA: &str = "
CREATE VIEW v_purge AS SELECT purge() AS p;
CREATE MATERIALIZED VIEW m_purge AS SELECT purge() AS p WITH NO DATA;
";

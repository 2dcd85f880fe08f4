//! Limits of changed and returned rows, counted the way the plan says, on a real server.

use std::sync::Arc;

use portcullis::backend::postgres::catalog::{World, counter_query, parse_counter};
use portcullis::model::{
    Access, Effects, Facts, Kind, Refusal, Requirement, RequirementKind, Traits,
};
use portcullis::safety::limit::{CountPlan, Ledger, LimitPlan, Readings, SETTLE_QUERY, plan};

use crate::support::database::OWNER;
use crate::support::raw::Raw;

use super::fixture::{DELETE, INSERT, Known, READ, SCHEMA, UPDATE, calling, column, dml, facts};

/// `[table_limits]` as its policy puts it.
fn limits(entries: &[(&str, u64)]) -> Vec<Requirement> {
    let patterns: Arc<[Arc<str>]> = entries
        .iter()
        .map(|(pattern, _)| Arc::from(*pattern))
        .collect();
    let requirement = |(index, (_, limit)): (usize, &(&str, u64))| Requirement {
        policy: "table_limits".into(),
        kind: RequirementKind::TableRowsMax {
            patterns: Arc::clone(&patterns),
            pattern: index as u32,
            changed: Some(*limit),
            returned: Some(*limit),
        },
    };
    entries.iter().enumerate().map(requirement).collect()
}

fn planned(known: &Known, requirements: &[Requirement], facts: &Facts) -> LimitPlan {
    let world = World {
        role: OWNER,
        ..World::default()
    };
    plan(requirements, facts, Some(&known.snapshot()), &world)
}

fn read(link: &mut Raw, oids: &[u32]) -> Readings {
    let rows = link.rows(&counter_query(oids));
    Readings::new(rows.iter().map(|row| {
        let fields: Vec<Option<&[u8]>> = row
            .iter()
            .map(|field| field.as_deref().map(str::as_bytes))
            .collect();
        parse_counter(&fields).expect("a counter")
    }))
}

/// Runs one statement inside the link's transaction the way a session has to.
fn run(link: &mut Raw, ledger: &mut Ledger, plan: &LimitPlan, sql: &str) -> Result<(), Refusal> {
    match &plan.changed {
        CountPlan::Nothing => {
            link.rows(sql);
        }
        CountPlan::Tag(groups) => {
            let lines = link.lines(&format!("Q {sql}"));
            let tag = lines
                .iter()
                .find_map(|line| line.strip_prefix("CommandComplete "));
            let tag = tag.unwrap_or_else(|| panic!("{sql}: {lines:?}"));
            let rows = tag
                .rsplit(' ')
                .next()
                .and_then(|rows| rows.parse().ok())
                .expect("a number of rows");
            for group in groups.iter() {
                ledger.add(group, rows)?;
            }
        }
        CountPlan::Counters(counting) => {
            let before = read(link, &counting.oids);
            link.rows(sql);
            if counting.settle {
                link.rows(SETTLE_QUERY);
            }
            let after = read(link, &counting.oids);
            ledger.settle(&counting.groups, &before, &after)?;
        }
        CountPlan::Refuse(refusal) => return Err(refusal.clone()),
    }
    Ok(())
}

/// The outcome of a transaction of these statements, which is rolled back.
fn outcome(
    known: &Known,
    requirements: &[Requirement],
    statements: &[(&str, Facts)],
) -> Result<(), Refusal> {
    let mut link = known.database.direct();
    let mut ledger = Ledger::new();
    link.rows("BEGIN");
    let mut result = Ok(());
    for (sql, facts) in statements {
        result = run(
            &mut link,
            &mut ledger,
            &planned(known, requirements, facts),
            sql,
        );
        if result.is_err() {
            break;
        }
    }
    link.rows("ROLLBACK");
    result
}

fn no_text(kind: Kind) -> Facts {
    Facts {
        effects: Effects::CODE,
        ..Facts::empty(kind)
    }
}

/// Every way to delete all five users.
fn ways() -> Vec<(&'static str, Facts)> {
    let delete = |table: &str| dml(Kind::Delete, table, DELETE | READ);
    let call = |name: &str| calling(Facts::empty(Kind::Select), name);
    vec![
        ("delete from users", delete("users")),
        (
            "update users set name = 'x'",
            dml(Kind::Update, "users", UPDATE | READ),
        ),
        (
            "with gone as (delete from users returning 1) select 1",
            facts(Kind::Select, &[("cte:users", DELETE)]),
        ),
        ("delete from v_users", delete("v_users")),
        ("select purge()", call("purge")),
        ("select outer_purge()", call("outer_purge")),
        ("select purge_any('users')", call("purge_any")),
        ("select * from atomic_purge()", call("atomic_purge")),
        (
            "select u.purge_row from users u",
            column(dml(Kind::Select, "users", READ), "purge_row"),
        ),
        (
            "call purge_all()",
            calling(no_text(Kind::Call), "purge_all"),
        ),
        ("do 'begin delete from users; end'", no_text(Kind::Do)),
        (
            "insert into defaulted(v) values (1)",
            dml(Kind::Insert, "defaulted", INSERT),
        ),
        (
            "explain analyze delete from users",
            facts(Kind::Explain, &[("users", DELETE | READ)]),
        ),
        (
            "truncate users cascade",
            Facts {
                traits: Traits::CASCADE,
                ..dml(Kind::Truncate, "users", Access::TRUNCATE)
            },
        ),
        (
            "drop table users cascade",
            Facts {
                traits: Traits::CASCADE,
                ..dml(Kind::Drop, "users", Access::DROP)
            },
        ),
        (
            "drop schema public cascade",
            Facts {
                traits: Traits::CASCADE,
                ..Facts::empty(Kind::Drop)
            },
        ),
        (
            "alter table orders alter user_id type bigint",
            dml(Kind::Alter, "orders", Access::ALTER),
        ),
    ]
}

#[test]
fn every_way_to_a_table_is_limited() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let mut wrong = Vec::new();
    for (sql, facts) in ways() {
        // The last way rewrites orders, the others reach it by cascade or not at all.
        let limited = if sql.contains("alter") {
            "orders"
        } else {
            "users"
        };
        let over = outcome(&known, &limits(&[(limited, 4)]), &[(sql, facts.clone())]);
        if over.as_ref().err().map(|refusal| refusal.code) != Some("54000") {
            wrong.push(format!("over the limit: {sql}: {over:?}"));
        }
        let whole = ["truncate", "drop", "alter"]
            .iter()
            .any(|word| sql.starts_with(word));
        let exact = outcome(&known, &limits(&[(limited, 5)]), &[(sql, facts)]);
        if exact.is_err() != whole {
            wrong.push(format!("at the limit: {sql}: {exact:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_cascade_counts_for_the_table_at_its_end() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let delete = || dml(Kind::Delete, "users", DELETE | READ);
    let refusal = outcome(
        &known,
        &limits(&[("items", 2)]),
        &[("delete from users where id <= 3", delete())],
    )
    .expect_err("three items lose their order");
    assert_eq!(
        &*refusal.message,
        "statement would change 3 rows of \"items\", the limit is 2"
    );
    assert!(
        outcome(
            &known,
            &limits(&[("items", 2)]),
            &[("delete from users where id <= 2", delete())]
        )
        .is_ok()
    );
}

#[test]
fn partitions_count_for_their_parent() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let limit = limits(&[("events", 4)]);
    let whole = [(
        "delete from events",
        dml(Kind::Delete, "events", DELETE | READ),
    )];
    assert!(outcome(&known, &limit, &whole).is_err());
    let parts = [
        (
            "delete from events_1",
            dml(Kind::Delete, "events_1", DELETE | READ),
        ),
        (
            "delete from events_2",
            dml(Kind::Delete, "events_2", DELETE | READ),
        ),
    ];
    let refusal = outcome(&known, &limit, &parts).expect_err("three and two");
    assert!(
        refusal
            .message
            .starts_with("transaction would change 5 rows of \"events\""),
        "{}",
        refusal.message
    );
    assert!(outcome(&known, &limit, &parts[..1]).is_ok());
}

#[test]
fn a_trigger_that_waits_for_commit_is_counted_before_it() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let insert = |table: &str| dml(Kind::Insert, table, INSERT);
    let late = [(
        "insert into late select i from generate_series(1, 3) i",
        insert("late"),
    )];
    assert!(outcome(&known, &limits(&[("logs", 2)]), &late).is_err());
    assert!(outcome(&known, &limits(&[("logs", 3)]), &late).is_ok());
}

#[test]
fn statements_of_a_transaction_add_up_and_others_pay_nothing() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let limit = limits(&[("checked", 4)]);
    let insert = || dml(Kind::Insert, "checked", INSERT);
    let twice = [
        (
            "insert into checked select 1, 1 from generate_series(1, 3)",
            insert(),
        ),
        (
            "insert into checked select 1, 1 from generate_series(1, 3)",
            insert(),
        ),
    ];
    assert!(outcome(&known, &limit, &twice[..1]).is_ok());
    assert!(outcome(&known, &limit, &twice).is_err());
    let others = [
        dml(Kind::Delete, "logs", DELETE | READ),
        dml(Kind::Select, "checked", READ),
        dml(Kind::Delete, "users", DELETE | READ),
        calling(Facts::empty(Kind::Select), "pure"),
        Facts::empty(Kind::Begin),
        Facts::empty(Kind::Commit),
    ];
    for facts in others {
        let plan = planned(&known, &limit, &facts);
        let nothing = matches!(plan.changed, CountPlan::Nothing);
        assert!(nothing, "{:?}: {plan:?}", facts.kind);
    }
    let plain = planned(&known, &limit, &insert());
    assert!(matches!(plain.changed, CountPlan::Tag(_)), "{plain:?}");
}

#[test]
fn what_cannot_be_counted_is_refused_and_says_why() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let limit = limits(&[("users", 4), ("new_*", 4)]);
    let message = |facts: &Facts| match planned(&known, &limit, facts).changed {
        CountPlan::Refuse(refusal) => format!("{} / {}", refusal.message, refusal.detail),
        other => panic!("{other:?}"),
    };
    let mut outside = no_text(Kind::Do);
    outside.traits |= Traits::NO_TRANSACTION;
    assert!(
        message(&outside)
            .starts_with("DO cannot run inside a transaction block, and the limit of \"users\"")
    );
    let mut network = calling(Facts::empty(Kind::Select), "purge");
    network.effects |= Effects::NETWORK;
    assert!(message(&network).contains("works outside this session"));
    assert!(
        message(&calling(Facts::empty(Kind::Declare), "purge"))
            .contains("a cursor runs its query later")
    );
    assert!(message(&dml(Kind::Insert, "new_table", INSERT)).contains("does not know it yet"));
    let world = World::default();
    let unknown = plan(&limit, &dml(Kind::Delete, "users", DELETE), None, &world);
    assert!(matches!(unknown.changed, CountPlan::Refuse(_)));
    let begin = plan(&limit, &Facts::empty(Kind::Begin), None, &world);
    assert!(matches!(begin.changed, CountPlan::Nothing));
}

#[test]
fn returned_rows_are_limited_through_views_and_functions() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let limit = limits(&[("users", 4), ("logs", 9)]);
    let returned = |facts: &Facts| {
        planned(&known, &limit, facts)
            .returned
            .map(|returned| returned.limit)
    };
    assert_eq!(returned(&dml(Kind::Select, "users", READ)), Some(4));
    assert_eq!(returned(&dml(Kind::Select, "v_deep", READ)), Some(4));
    assert_eq!(returned(&dml(Kind::Select, "logs", READ)), Some(9));
    assert_eq!(returned(&dml(Kind::Select, "plain", READ)), None);
    assert_eq!(
        returned(&calling(Facts::empty(Kind::Select), "peek")),
        Some(4)
    );
    assert_eq!(returned(&calling(Facts::empty(Kind::Select), "pure")), None);
    assert_eq!(
        returned(&calling(Facts::empty(Kind::Select), "purge_any")),
        Some(4),
        "it may show any table"
    );
    let plan = planned(&known, &limit, &dml(Kind::Select, "users", READ));
    assert!(plan.read_only && matches!(plan.changed, CountPlan::Nothing));
}

#[test]
fn a_session_with_temporary_objects_or_open_definitions_is_counted() {
    let Some(known) = Known::new(SCHEMA) else {
        return;
    };
    let limit = limits(&[("checked", 4)]);
    let facts = dml(Kind::Delete, "public.checked", DELETE | READ);
    let unqualified = dml(Kind::Delete, "checked", DELETE | READ);
    let snapshot = known.snapshot();
    let counted = |facts: &Facts, world: World<'_>| {
        matches!(
            plan(&limit, facts, Some(&snapshot), &world).changed,
            CountPlan::Counters(_)
        )
    };
    let world = World {
        role: OWNER,
        ..World::default()
    };
    assert!(!counted(&unqualified, world));
    assert!(counted(
        &unqualified,
        World {
            temp_objects: true,
            ..world
        }
    ));
    assert!(!counted(
        &facts,
        World {
            temp_objects: true,
            ..world
        }
    ));
    assert!(counted(
        &facts,
        World {
            ddl_pending: true,
            ..world
        }
    ));
}

//! Reads the catalog: a dozen plain queries in one read-only snapshot.
//!
//! Nothing here takes a lock on a user's table: definitions are read as the
//! parser stored them, because printing them (`pg_get_viewdef`) would wait for
//! whoever holds the table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use crate::model::Access;

use super::body;
use super::digest::FIRST_USER_OID;
use super::snapshot::{
    Cascade, CatalogSnapshot, Function, Oid, Relation, RelationKind, Trigger, UniqueIndex,
};

const RELATIONS: &str = "\
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.reltuples::float8, \
           n.nspname IN ('pg_catalog', 'information_schema') \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'";

const INHERITS: &str = "SELECT inhrelid, inhparent FROM pg_inherits";

/// Clones of a partitioned table's triggers count as internal on some versions, so
/// the function decides: the server's own constraints use built-in ones.
const TRIGGERS: &str = "\
    SELECT oid, tgrelid, tgname::text, tgtype::int4, tgdeferrable, tgfoid FROM pg_trigger \
    WHERE tgenabled <> 'D' AND (NOT tgisinternal OR tgfoid >= 16384)";

const RULES: &str = "SELECT oid, ev_class, rulename = '_RETURN' FROM pg_rewrite WHERE ev_enabled <> 'D' AND oid >= 16384";

const POLICIES: &str = "SELECT oid, polrelid FROM pg_policy";

const DEFAULTS: &str = "\
    SELECT d.oid, d.adrelid, a.attgenerated = 'v' FROM pg_attrdef d \
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.oid >= 16384";

const CONSTRAINTS: &str = "\
    SELECT oid, contype::text, conrelid, confrelid, confupdtype::text, confdeltype::text FROM pg_constraint \
    WHERE oid >= 16384";

const INDEXES: &str = "\
    SELECT i.indexrelid, i.indrelid, c.relname::text, \
           i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL, \
           ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n) \
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                 WHERE k.n <= i.indnkeyatts ORDER BY k.n) \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid >= 16384";

const STATISTICS: &str = "SELECT oid, stxrelid FROM pg_statistic_ext";

const EVENT_TRIGGERS: &str = "SELECT evtfoid FROM pg_event_trigger WHERE evtenabled <> 'D'";

const DEPENDS: &str = "\
    SELECT DISTINCT d.classid::regclass::text, d.objid, d.refclassid = 'pg_proc'::regclass, d.refobjid FROM pg_depend d \
    WHERE d.objid >= 16384 AND d.refobjid >= 16384 AND d.deptype <> 'e' \
      AND (d.refclassid = 'pg_proc'::regclass \
           OR d.refclassid = 'pg_class'::regclass AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass))";

/// The functions and relations that catalog entries depend on, by (catalog, entry).
#[derive(Default)]
struct Depends {
    functions: HashMap<(String, Oid), Vec<Oid>>,
    relations: HashMap<(String, Oid), Vec<Oid>>,
}

impl Depends {
    fn functions(&self, catalog: &str, oid: Oid) -> Vec<Oid> {
        self.functions
            .get(&(catalog.to_owned(), oid))
            .cloned()
            .unwrap_or_default()
    }

    fn relations(&self, catalog: &str, oid: Oid) -> Vec<Oid> {
        self.relations
            .get(&(catalog.to_owned(), oid))
            .cloned()
            .unwrap_or_default()
    }
}

/// Reads everything; `transaction` is read-only and repeatable, with pg_catalog as its search_path.
pub(super) async fn load(
    transaction: &Transaction<'_>,
) -> Result<CatalogSnapshot, tokio_postgres::Error> {
    let version = transaction
        .query_one("SELECT current_setting('server_version_num')::int4", &[])
        .await?;
    let mut loader = Loader {
        snapshot: CatalogSnapshot {
            server_version: u32::try_from(version.try_get::<_, i32>(0)?).unwrap_or(0),
            ..CatalogSnapshot::default()
        },
        depends: Depends::default(),
    };
    loader.depends(transaction).await?;
    loader.relations(transaction).await?;
    loader.hangers(transaction).await?;
    loader.constraints(transaction).await?;
    loader.indexes(transaction).await?;
    loader.functions(transaction).await?;
    loader.text_runners(transaction).await?;
    loader.built_in_operators(transaction).await?;
    Ok(loader.snapshot)
}

struct Loader {
    snapshot: CatalogSnapshot,
    depends: Depends,
}

impl Loader {
    async fn depends(&mut self, link: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        // Whatever runs by an operator, cast, type or operator class runs without being named.
        let implicit = [
            "pg_type",
            "pg_cast",
            "pg_operator",
            "pg_amproc",
            "pg_opclass",
            "pg_opfamily",
        ];
        let mut ambient: HashSet<Oid> = HashSet::new();
        for row in link.query(DEPENDS, &[]).await? {
            let (catalog, object): (String, Oid) = (row.try_get(0)?, row.try_get(1)?);
            let (function, target): (bool, Oid) = (row.try_get(2)?, row.try_get(3)?);
            if function && implicit.contains(&&*catalog) {
                ambient.insert(target);
            }
            let list = if function {
                &mut self.depends.functions
            } else {
                &mut self.depends.relations
            };
            list.entry((catalog, object)).or_default().push(target);
        }
        self.snapshot.ambient = ambient.into_iter().collect();
        Ok(())
    }

    async fn relations(&mut self, link: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        for row in link.query(RELATIONS, &[]).await? {
            let relation = match relation(&row)? {
                Some(relation) => relation,
                None => continue,
            };
            if row.try_get(5)? && relation.oid < FIRST_USER_OID {
                self.snapshot.system_names.insert(relation.name);
                continue;
            }
            let names = &mut self.snapshot.relation_names;
            names
                .entry(Arc::clone(&relation.name))
                .or_default()
                .push(relation.oid);
            self.snapshot.relations.insert(relation.oid, relation);
        }
        for row in link.query(INHERITS, &[]).await? {
            let (child, parent): (Oid, Oid) = (row.try_get(0)?, row.try_get(1)?);
            // Indexes inherit, too.
            if self.snapshot.relations.contains_key(&child) {
                self.edit(parent, |relation| relation.children.push(child));
                self.edit(child, |relation| relation.parents.push(parent));
            }
        }
        Ok(())
    }

    /// Triggers, rules, policies, defaults: what hangs on a relation and runs functions.
    async fn hangers(&mut self, link: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        for row in link.query(TRIGGERS, &[]).await? {
            let (oid, table): (Oid, Oid) = (row.try_get(0)?, row.try_get(1)?);
            let mut functions = self.depends.functions("pg_trigger", oid);
            functions.push(row.try_get(5)?);
            let trigger = Trigger {
                name: row.try_get::<_, String>(2)?.into(),
                functions,
                events: trigger_events(row.try_get(3)?),
                deferrable: row.try_get(4)?,
            };
            self.edit(table, |relation| relation.triggers.push(trigger));
        }
        for row in link.query(RULES, &[]).await? {
            let (oid, table, own): (Oid, Oid, bool) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let functions = self.depends.functions("pg_rewrite", oid);
            let relations = self.depends.relations("pg_rewrite", oid);
            self.edit(table, |relation| {
                relation.rules |= !own;
                relation.rule_functions.extend(functions);
                let others = relations.into_iter().filter(|oid| *oid != table);
                relation.rule_relations.extend(others);
            });
        }
        for row in link.query(POLICIES, &[]).await? {
            let (oid, table): (Oid, Oid) = (row.try_get(0)?, row.try_get(1)?);
            let functions = self.depends.functions("pg_policy", oid);
            let relations = self.depends.relations("pg_policy", oid);
            self.edit(table, |relation| {
                relation.read_functions.extend(functions);
                let others = relations.into_iter().filter(|oid| *oid != table);
                relation.policy_relations.extend(others);
            });
        }
        for row in link.query(DEFAULTS, &[]).await? {
            let (oid, table, on_read): (Oid, Oid, bool) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let functions = self.depends.functions("pg_attrdef", oid);
            self.edit(table, |relation| {
                if on_read {
                    relation.read_functions.extend(&functions);
                }
                relation.change_functions.extend(functions);
            });
        }
        let event_triggers = link.query(EVENT_TRIGGERS, &[]).await?;
        self.snapshot.event_functions = event_triggers
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    async fn constraints(&mut self, link: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        for row in link.query(CONSTRAINTS, &[]).await? {
            let (oid, kind, table): (Oid, String, Oid) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if kind == "f" {
                let cascade = cascade(table, row.try_get(4)?, row.try_get(5)?);
                self.edit(row.try_get(3)?, |relation| relation.cascades.push(cascade));
                continue;
            }
            let functions = self.depends.functions("pg_constraint", oid);
            if table == 0 {
                self.snapshot.ambient.extend(functions); // of a domain
            } else {
                self.edit(table, |relation| {
                    relation.change_functions.extend(functions)
                });
            }
        }
        Ok(())
    }

    async fn indexes(&mut self, link: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        for row in link.query(INDEXES, &[]).await? {
            let (index, table): (Oid, Oid) = (row.try_get(0)?, row.try_get(1)?);
            let name: String = row.try_get(2)?;
            let unique: bool = row.try_get(3)?;
            let columns: Vec<String> = row.try_get(4)?;
            let functions = self.depends.functions("pg_class", index);
            self.edit(table, |relation| {
                relation.change_functions.extend(&functions);
                relation.index_functions.extend(functions);
                if unique {
                    let columns = columns.into_iter().map(Arc::from).collect();
                    relation.unique.push(UniqueIndex {
                        name: name.into(),
                        columns,
                    });
                }
            });
        }
        for row in link.query(STATISTICS, &[]).await? {
            let functions = self.depends.functions("pg_statistic_ext", row.try_get(0)?);
            self.edit(row.try_get(1)?, |relation| {
                relation.index_functions.extend(functions)
            });
        }
        // A partition key is computed for every row that comes in.
        let tables: Vec<Oid> = self.snapshot.relations.keys().copied().collect();
        for table in tables {
            let functions = self.depends.functions("pg_class", table);
            self.edit(table, |relation| {
                relation.change_functions.extend(functions)
            });
        }
        Ok(())
    }

    async fn functions(&mut self, link: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        // A body in SQL-standard form is stored parsed: what it reads is in
        // pg_depend, that it writes shows in the kind of its commands.
        let body = if self.snapshot.server_version >= 140_000 {
            "CASE WHEN p.prosqlbody IS NULL THEN p.prosrc ELSE concat(\
             CASE WHEN p.prosqlbody::text ~ ':commandType [^01]' THEN 'update ' END, \
             CASE WHEN p.prosqlbody::text ~ $1 THEN 'query_to_xml ' END, \
             CASE WHEN p.prosqlbody::text ~ $2 THEN 'set_config' END) END"
        } else {
            "CASE WHEN $1 = '' OR $2 = '' THEN '' ELSE p.prosrc END"
        };
        // The parts of an aggregate, as a list of numbers.
        let aggregates = "concat_ws(' ', '', a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid, \
             a.aggserialfn::oid, a.aggdeserialfn::oid, a.aggmtransfn::oid, a.aggminvtransfn::oid, a.aggmfinalfn::oid, '')";
        let sql = format!(
            "SELECT p.oid, n.nspname::text, p.proname::text, l.lanname::text, p.prokind = 'a', e.extname::text, \
                    CASE WHEN l.lanname IN ('sql', 'plpgsql') THEN {body} ELSE '' END, \
                    p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1 AND coalesce(t.typtype IN ('c', 'p'), true), \
                    coalesce(p.proargdefaults::text ~ $1, false) OR coalesce({aggregates} ~ $3, false) \
                    OR ({REFCURSOR} = ANY(p.proargtypes::oid[]) AND p.prosrc ~* '\\m(fetch|move)\\M'), \
                    coalesce(p.proargdefaults::text ~ $2, false) OR coalesce({aggregates} ~ $4, false) \
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang \
             LEFT JOIN pg_type t ON t.oid = p.proargtypes[0] \
             LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid \
             LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
             LEFT JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid \
             WHERE p.oid >= {FIRST_USER_OID}"
        );
        let runners = self.call_pattern(link, body::text_runners()).await?;
        let traces = self.call_pattern(link, body::trace_leavers()).await?;
        let (built_in, leaving) = (
            self.function_pattern(link, body::text_runners()).await?,
            self.function_pattern(link, body::trace_leavers()).await?,
        );
        let patterns: [&(dyn ToSql + Sync); 4] = [&runners, &traces, &built_in, &leaving];
        for row in link.query(&sql, &patterns).await? {
            let oid: Oid = row.try_get(0)?;
            let function = Function {
                oid,
                schema: row.try_get::<_, String>(1)?.into(),
                name: row.try_get::<_, String>(2)?.into(),
                language: row.try_get::<_, String>(3)?.into(),
                aggregate: row.try_get(4)?,
                extension: row.try_get::<_, Option<String>>(5)?.map(Arc::from),
                body: row.try_get::<_, String>(6)?.into(),
                functions: self.depends.functions("pg_proc", oid),
                relations: self.depends.relations("pg_proc", oid),
                attribute: row.try_get(7)?,
                runs_text: row.try_get(8)?,
                leaves_traces: row.try_get(9)?,
                found: Default::default(),
            };
            let names = &mut self.snapshot.function_names;
            names
                .entry(Arc::clone(&function.name))
                .or_default()
                .push(oid);
            self.snapshot.functions.insert(oid, function);
        }
        Ok(())
    }

    /// Finds a call of one of these built-in functions in a stored expression.
    async fn call_pattern(
        &self,
        link: &Transaction<'_>,
        names: &[&str],
    ) -> Result<String, tokio_postgres::Error> {
        let sql = "SELECT ':funcid (' || coalesce(string_agg(oid::text, '|'), '0') || ')\\M' FROM pg_proc \
                   WHERE proname = ANY($1::text[]) AND pronamespace = 'pg_catalog'::regnamespace";
        link.query_one(sql, &[&names]).await?.try_get(0)
    }

    /// Finds one of these built-in functions in a list of numbers.
    async fn function_pattern(
        &self,
        link: &Transaction<'_>,
        names: &[&str],
    ) -> Result<String, tokio_postgres::Error> {
        let sql = "SELECT '\\m(' || coalesce(string_agg(oid::text, '|'), '0') || ')\\M' FROM pg_proc \
                   WHERE proname = ANY($1::text[]) AND pronamespace = 'pg_catalog'::regnamespace";
        link.query_one(sql, &[&names]).await?.try_get(0)
    }

    /// Operators, casts and operator classes that users made of built-in functions.
    async fn built_in_operators(
        &mut self,
        link: &Transaction<'_>,
    ) -> Result<(), tokio_postgres::Error> {
        let runs = link.query_one(OPERATORS, &[&body::text_runners()]).await?;
        self.snapshot.ambient_text |= runs.try_get::<_, bool>(0)?;
        let leaves = link.query_one(OPERATORS, &[&body::trace_leavers()]).await?;
        self.snapshot.ambient_traces |= leaves.try_get::<_, bool>(0)?;
        Ok(())
    }

    async fn text_runners(&mut self, link: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        let sql = DEFINITIONS;
        let traces = self.call_pattern(link, body::trace_leavers()).await?;
        for row in link.query(sql, &[&traces]).await? {
            let table: Oid = row.try_get(0)?;
            self.snapshot.ambient_traces |= table == 0; // a domain's check
            self.edit(table, |relation| relation.leaves_traces = true);
        }
        let pattern = self.call_pattern(link, body::text_runners()).await?;
        for row in link.query(sql, &[&pattern]).await? {
            let table: Oid = row.try_get(0)?;
            if table == 0 {
                self.snapshot.ambient_text = true; // a domain's check
            }
            self.edit(table, |relation| relation.runs_text = true);
        }
        Ok(())
    }

    fn edit(&mut self, oid: Oid, change: impl FnOnce(&mut Relation)) {
        if let Some(relation) = self.snapshot.relations.get_mut(&oid) {
            change(relation);
        }
    }
}

/// The type of cursors.
const REFCURSOR: Oid = 1790;

/// Whether anything that runs without being named was made of one of these
/// built-in functions. An index's own functions and types' are C functions of the
/// server with signatures that these have not.
const OPERATORS: &str = "\
            WITH built_in AS (SELECT oid FROM pg_proc WHERE proname = ANY($1::text[]) \
                AND pronamespace = 'pg_catalog'::regnamespace) \
            SELECT EXISTS (SELECT FROM pg_operator o JOIN built_in ON built_in.oid = o.oprcode WHERE o.oid >= 16384) \
                OR EXISTS (SELECT FROM pg_cast c JOIN built_in ON built_in.oid = c.castfunc WHERE c.oid >= 16384) \
                OR EXISTS (SELECT FROM pg_amproc p JOIN built_in ON built_in.oid = p.amproc WHERE p.oid >= 16384)";

/// Relations with a stored expression that matches.
const DEFINITIONS: &str = "\
            SELECT ev_class FROM pg_rewrite WHERE oid >= 16384 AND ev_action::text ~ $1 \
            UNION SELECT adrelid FROM pg_attrdef WHERE oid >= 16384 AND adbin::text ~ $1 \
            UNION SELECT conrelid FROM pg_constraint WHERE oid >= 16384 AND conbin::text ~ $1 \
            UNION SELECT tgrelid FROM pg_trigger WHERE oid >= 16384 AND tgqual::text ~ $1 \
            UNION SELECT polrelid FROM pg_policy WHERE concat(polqual::text, polwithcheck::text) ~ $1";

fn relation(row: &Row) -> Result<Option<Relation>, tokio_postgres::Error> {
    let relkind: String = row.try_get(3)?;
    let kind = relkind.bytes().next().and_then(RelationKind::from_relkind);
    let Some(kind) = kind else { return Ok(None) };
    let rows: f64 = row.try_get(4)?;
    Ok(Some(Relation {
        oid: row.try_get(0)?,
        schema: row.try_get::<_, String>(1)?.into(),
        name: row.try_get::<_, String>(2)?.into(),
        kind,
        children: Vec::new(),
        parents: Vec::new(),
        triggers: Vec::new(),
        rules: false,
        rule_relations: Vec::new(),
        rule_functions: Vec::new(),
        change_functions: Vec::new(),
        index_functions: Vec::new(),
        read_functions: Vec::new(),
        policy_relations: Vec::new(),
        runs_text: false,
        leaves_traces: false,
        cascades: Vec::new(),
        // -1 until the first VACUUM or ANALYZE; before version 14 that is 0.
        rows: (rows > 0.0).then_some(rows),
        unique: Vec::new(),
    }))
}

/// Bits of `pg_trigger.tgtype`.
fn trigger_events(tgtype: i32) -> Access {
    let events = [
        (4, Access::INSERT),
        (8, Access::DELETE),
        (16, Access::UPDATE),
        (32, Access::TRUNCATE),
    ];
    events
        .iter()
        .filter(|(bit, _)| tgtype & bit != 0)
        .fold(Access::empty(), |all, (_, event)| all | *event)
}

/// `confupdtype` and `confdeltype`: no action, restrict, cascade, set null, set default.
fn cascade(table: Oid, on_update: &str, on_delete: &str) -> Cascade {
    let update = match on_update {
        "c" | "n" | "d" => Access::UPDATE,
        _ => Access::empty(),
    };
    let delete = match on_delete {
        "c" => Access::DELETE,
        "n" | "d" => Access::UPDATE,
        _ => Access::empty(),
    };
    Cascade {
        table,
        on_delete: delete,
        on_update: update,
    }
}

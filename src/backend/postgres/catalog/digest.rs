//! One value that moves when a definition does.
//!
//! PostgreSQL has no counter of definitions. Every row of its catalogs carries
//! the transaction that wrote it, so a sum of hashes over (identity, writer) of
//! the user's rows moves with whatever is added, changed or removed. VACUUM and
//! ANALYZE write in place and do not move it; temporary objects are left out,
//! else every session that makes one would have the catalog read again.

/// Rows of user objects start here (`FirstNormalObjectId`).
pub(super) const FIRST_USER_OID: u32 = 16384;

/// Catalog, identity, and the column that names the relation it belongs to.
const PARTS: &[(&str, &str, Option<&str>)] = &[
    ("pg_namespace", "oid", None),
    ("pg_proc", "oid", None),
    ("pg_cast", "oid", None),
    ("pg_operator", "oid", None),
    ("pg_amproc", "oid", None),
    ("pg_event_trigger", "oid", None),
    ("pg_extension", "oid", None),
    ("pg_type", "oid", None),
    ("pg_class", "oid", Some("oid")),
    ("pg_rewrite", "oid", Some("ev_class")),
    ("pg_trigger", "oid", Some("tgrelid")),
    ("pg_constraint", "oid", Some("conrelid")),
    ("pg_policy", "oid", Some("polrelid")),
    ("pg_attrdef", "oid", Some("adrelid")),
    ("pg_index", "indexrelid", Some("indrelid")),
    ("pg_inherits", "inhrelid", Some("inhrelid")),
];

/// SQL that answers with one row of two texts: the digest of all definitions,
/// and the digest of the planner's table statistics.
///
/// Holds in any search_path and for any role. On a small database it takes about
/// a millisecond: right for a poll, too much for every statement.
pub fn epoch_query() -> String {
    let parts: Vec<String> = PARTS.iter().map(|part| digest_part(part)).collect();
    format!(
        "SELECT pg_catalog.concat_ws(',', {}), \
         (SELECT pg_catalog.concat_ws('.', pg_catalog.count(*), \
         pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', relpages, reltuples), oid::pg_catalog.int8))) \
         FROM pg_catalog.pg_class \
         WHERE oid OPERATOR(pg_catalog.>=) {FIRST_USER_OID}::pg_catalog.oid \
         AND relpersistence OPERATOR(pg_catalog.<>) 't' AND relkind::pg_catalog.text OPERATOR(pg_catalog.~) '^[rmpi]$')",
        parts.join(", ")
    )
}

fn digest_part((catalog, identity, relation): &(&str, &str, Option<&str>)) -> String {
    let permanent = match (*catalog, relation) {
        // The schemas of temporary objects come and go with sessions.
        ("pg_namespace", _) => " AND x.nspname OPERATOR(pg_catalog.!~) '^pg_'".to_owned(),
        // Rows of tables and arrays of them are types, too.
        ("pg_type", _) => " AND x.typtype OPERATOR(pg_catalog.<>) 'c' \
             AND x.typcategory OPERATOR(pg_catalog.<>) 'A'"
            .to_owned(),
        (_, None) => String::new(),
        (_, Some("oid")) => " AND x.relpersistence OPERATOR(pg_catalog.<>) 't'".to_owned(),
        (_, Some(column)) => format!(
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_class t WHERE t.oid OPERATOR(pg_catalog.=) x.{column} \
             AND t.relpersistence OPERATOR(pg_catalog.=) 't')"
        ),
    };
    format!(
        "(SELECT pg_catalog.concat_ws('.', pg_catalog.count(*), pg_catalog.sum(\
         pg_catalog.hashint8extended(x.{identity}::pg_catalog.int8, x.xmin::pg_catalog.text::pg_catalog.int8))) \
         FROM pg_catalog.{catalog} x WHERE x.{identity} OPERATOR(pg_catalog.>=) {FIRST_USER_OID}::pg_catalog.oid{permanent})"
    )
}

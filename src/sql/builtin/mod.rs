//! What the servers bring along: functions, operators, types.
//!
//! A name on the harmless list neither writes nor runs code; a user may still
//! hide it by a function of his own further up the search_path, which text
//! cannot know. Everything that is on no list counts as unknown code.
//!
//! Deliberately not here: anything that depends on a database.

mod sqlite;

use std::sync::LazyLock;

use hashbrown::HashSet;

use crate::model::{Dialect, Effects};

/// What is known about a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Neither writes nor runs code.
    Harmless,
    /// A built-in with these effects; true when it can destroy.
    Known(Effects, bool),
    /// Nobody's built-in: its body is code.
    Unknown,
}

impl Function {
    /// What calling it does.
    pub fn effects(self) -> Effects {
        match self {
            Function::Harmless => Effects::empty(),
            Function::Known(effects, _) => effects,
            Function::Unknown => Effects::CODE,
        }
    }

    /// Whether it can delete or overwrite, or drop recovery.
    pub fn destructive(self) -> bool {
        matches!(self, Function::Known(_, true))
    }
}

/// PostgreSQL's functions that neither write nor run code, of versions 12 to 18.
static HARMLESS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("postgres_functions.txt")
        .split_ascii_whitespace()
        .collect()
});

/// Looks up a function by its folded name.
pub fn function(name: &str, dialect: Dialect) -> Function {
    if dialect == Dialect::Sqlite {
        return sqlite::function(name);
    }
    if HARMLESS.contains(name) {
        return Function::Harmless;
    }
    match known(name) {
        Some((effects, destroys)) => Function::Known(effects, destroys),
        None if is_type(name) => Function::Harmless,
        // Syntax that looks like a call.
        None if matches!(
            name,
            "rollup" | "cube" | "sets" | "columns" | "passing" | "varying" | "path" | "wrapper"
        ) =>
        {
            Function::Harmless
        }
        None => Function::Unknown,
    }
}

/// Built-ins and well-known extensions that do more than compute.
fn known(name: &str) -> Option<(Effects, bool)> {
    const FILE: Effects = Effects::SERVER_FILE;
    const RIGHT: Effects = Effects::PRIVILEGE;
    Some(match name {
        "pg_read_file"
        | "pg_read_file_old"
        | "pg_read_binary_file"
        | "pg_ls_dir"
        | "pg_ls_logdir" => (FILE, true),
        "pg_ls_waldir" | "pg_ls_archive_statusdir" | "pg_ls_tmpdir" | "pg_ls_logicalmapdir" => {
            (FILE, true)
        }
        "pg_ls_logicalsnapdir" | "pg_ls_replslotdir" | "pg_stat_file" | "pg_hba_file_rules" => {
            (FILE, true)
        }
        "pg_ls_summariesdir" | "pg_ident_file_mappings" | "pg_show_all_file_settings" => {
            (FILE, true)
        }
        "pg_file_write" | "pg_file_rename" | "pg_file_unlink" | "pg_file_sync" | "pg_logdir_ls" => {
            (FILE, true)
        }
        "pg_file_read" | "pg_file_length" => (FILE, true),
        "lo_import" => (FILE.union(Effects::WRITES), true),
        "lo_export" => (FILE, true),

        // Control of the server and of other sessions. Dropping a slot or moving it drops recovery.
        "pg_terminate_backend" | "pg_cancel_backend" | "pg_reload_conf" | "pg_rotate_logfile" => {
            (RIGHT, false)
        }
        "pg_rotate_logfile_old" | "pg_promote" | "pg_wal_replay_pause" | "pg_wal_replay_resume" => {
            (RIGHT, false)
        }
        "pg_switch_wal" | "pg_create_restore_point" | "pg_backup_start" | "pg_backup_stop" => {
            (RIGHT, false)
        }
        "pg_start_backup" | "pg_stop_backup" | "pg_create_logical_replication_slot" => {
            (RIGHT, false)
        }
        "pg_create_physical_replication_slot" | "pg_copy_logical_replication_slot" => {
            (RIGHT, false)
        }
        "pg_copy_physical_replication_slot" | "pg_log_backend_memory_contexts" => (RIGHT, false),
        "pg_log_standby_snapshot" => (RIGHT, false),
        "pg_logical_emit_message" | "pg_stop_making_pinned_objects" | "pg_nextoid" => {
            (RIGHT, false)
        }
        "pg_drop_replication_slot"
        | "pg_replication_slot_advance"
        | "pg_logical_slot_get_changes" => (RIGHT, true),
        "pg_logical_slot_get_binary_changes" | "pg_sync_replication_slots" => (RIGHT, true),
        "pg_logical_slot_peek_changes" | "pg_logical_slot_peek_binary_changes" => (RIGHT, false),
        "pg_import_system_collations" | "pg_extension_config_dump" => (Effects::SCHEMA, false),
        // Statistics of the planner, from version 18 on.
        "pg_restore_relation_stats" | "pg_restore_attribute_stats" => (Effects::SCHEMA, false),
        "pg_clear_relation_stats" | "pg_clear_attribute_stats" => (Effects::SCHEMA, false),

        // SQL, or the name of anything, in an argument.
        "query_to_xml" | "query_to_xmlschema" | "query_to_xml_and_xmlschema" | "cursor_to_xml" => {
            (CODE, false)
        }
        "cursor_to_xmlschema"
        | "ts_stat"
        | "ts_rewrite"
        | "table_to_xml"
        | "table_to_xmlschema" => (CODE, false),
        "table_to_xml_and_xmlschema" | "schema_to_xml" | "schema_to_xmlschema" => (CODE, false),
        "schema_to_xml_and_xmlschema" | "database_to_xml" | "database_to_xmlschema" => {
            (CODE, false)
        }
        "database_to_xml_and_xmlschema" | "crosstab" | "crosstab2" | "crosstab3" | "crosstab4" => {
            (CODE, false)
        }
        "connectby" | "xpath_table" | "plpgsql_inline_handler" | "plpgsql_call_handler" => {
            (CODE, false)
        }

        // A sequence is changed, and stays changed when the transaction is rolled back.
        "nextval" => (Effects::WRITES, false),
        "setval" => (Effects::WRITES, true),
        "lo_create" | "lo_creat" | "lo_from_bytea" | "lo_open" | "lo_close" | "lo_lseek"
        | "lo_lseek64" => (Effects::WRITES, false),
        "lo_put" | "lowrite" | "lo_truncate" | "lo_truncate64" | "lo_unlink" | "lo_manage" => {
            (Effects::WRITES, true)
        }
        "loread" => (Effects::READS, false),
        "brin_summarize_new_values"
        | "brin_summarize_range"
        | "brin_desummarize_range"
        | "gin_clean_pending_list" => (Effects::SCHEMA, false),

        // State of the session, or time.
        "set_config" | "setseed" | "pg_notify" | "pg_export_snapshot" | "pg_advisory_lock" => {
            (SESSION, false)
        }
        "pg_advisory_lock_shared" | "pg_advisory_unlock" | "pg_advisory_unlock_all" => {
            (SESSION, false)
        }
        "pg_advisory_unlock_shared" | "pg_try_advisory_lock" | "pg_try_advisory_lock_shared" => {
            (SESSION, false)
        }
        "pg_advisory_xact_lock" | "pg_advisory_xact_lock_shared" | "pg_try_advisory_xact_lock" => {
            (SESSION, false)
        }
        "pg_try_advisory_xact_lock_shared" => (SESSION, false),
        "pg_sleep" | "pg_sleep_for" | "pg_sleep_until" => (Effects::empty(), false),

        _ if name.starts_with("dblink") || name.starts_with("postgres_fdw_") => {
            (Effects::NETWORK, true)
        }
        "http" | "http_get" | "http_post" | "http_put" | "http_delete" | "http_head"
        | "http_patch" => (Effects::NETWORK, true),
        _ if name.starts_with("pg_stat_reset") || name.starts_with("pg_stat_statements_reset") => {
            (RIGHT, false)
        }
        _ if name.starts_with("pg_replication_origin") => (RIGHT, true),
        _ if name.starts_with("binary_upgrade_") => (RIGHT.union(Effects::SCHEMA), true),
        _ => return None,
    })
}

const CODE: Effects = Effects::CODE;
const SESSION: Effects = Effects::SESSION;

/// PostgreSQL's own operators, the words for inequality included.
pub fn is_operator(text: &str) -> bool {
    const BUILTIN: &[&str] = &[
        "!!", "!~", "!~*", "!~~", "!~~*", "#", "##", "#-", "#>", "#>>", "%", "&", "&&", "&<",
        "&<|", "&>", "*", "*<", "*<=", "*<>", "*=", "*>", "*>=", "+", "-", "->", "->>", "-|-", "/",
        "<", "<->", "<<", "<<=", "<<|", "<=", "<>", "<@", "<^", "=", ">", ">=", ">>", ">>=", ">^",
        "?", "?#", "?&", "?-", "?-|", "?|", "?||", "@", "@-@", "@>", "@?", "@@", "@@@", "^", "^@",
        "|", "|&>", "|/", "|>>", "||", "||/", "~", "~*", "~<=~", "~<~", "~=", "~>=~", "~>~", "~~",
        "~~*", "!=", "==",
    ];
    match text.len() {
        1 => true,
        2 if matches!(text, "<=" | ">=" | "<>" | "!=" | "||" | "->") => true,
        _ => BUILTIN.contains(&text),
    }
}

/// Type names that mean the server's own types.
pub fn is_type(name: &str) -> bool {
    const BUILTIN: &[&str] = &[
        "aclitem",
        "any",
        "anyarray",
        "anycompatible",
        "anyelement",
        "anyenum",
        "anyrange",
        "array",
        "bigint",
        "bigserial",
        "bit",
        "blob",
        "bool",
        "boolean",
        "box",
        "bpchar",
        "bytea",
        "char",
        "character",
        "cid",
        "cidr",
        "circle",
        "cstring",
        "date",
        "datemultirange",
        "daterange",
        "datetime",
        "dec",
        "decimal",
        "double",
        "float",
        "float4",
        "float8",
        "inet",
        "int",
        "int2",
        "int2vector",
        "int4",
        "int4multirange",
        "int4range",
        "int8",
        "int8multirange",
        "int8range",
        "integer",
        "interval",
        "json",
        "jsonb",
        "jsonpath",
        "line",
        "lseg",
        "macaddr",
        "macaddr8",
        "money",
        "name",
        "national",
        "nchar",
        "numeric",
        "nummultirange",
        "numrange",
        "oid",
        "oidvector",
        "path",
        "pg_lsn",
        "pg_node_tree",
        "pg_snapshot",
        "point",
        "polygon",
        "real",
        "record",
        "refcursor",
        "regclass",
        "regcollation",
        "regconfig",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
        "regrole",
        "regtype",
        "serial",
        "serial4",
        "serial8",
        "smallint",
        "smallserial",
        "text",
        "tid",
        "time",
        "timestamp",
        "timestamptz",
        "timetz",
        "trigger",
        "tsmultirange",
        "tsquery",
        "tsrange",
        "tstzmultirange",
        "tstzrange",
        "tsvector",
        "txid_snapshot",
        "unknown",
        "uuid",
        "varbit",
        "varchar",
        "void",
        "xid",
        "xid8",
        "xml",
    ];
    BUILTIN.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_for_the_search() {
        for name in ["aclitem", "int4", "regclass", "xml", "text", "uuid"] {
            assert!(is_type(name), "{name}");
        }
        assert!(!is_type("geometry"));
    }

    #[test]
    fn what_does_more_than_compute_is_not_harmless() {
        let dangerous = [
            "pg_read_file",
            "lo_import",
            "dblink",
            "dblink_exec",
            "pg_terminate_backend",
            "query_to_xml",
            "setval",
            "nextval",
            "set_config",
            "pg_advisory_lock",
            "pg_sleep",
            "pg_drop_replication_slot",
            "lo_unlink",
            "pg_stat_reset",
            "pg_replication_origin_drop",
            "binary_upgrade_set_next_pg_type_oid",
        ];
        for name in dangerous {
            assert!(
                matches!(function(name, Dialect::Postgres), Function::Known(..)),
                "{name}"
            );
        }
        assert_eq!(function("lower", Dialect::Postgres), Function::Harmless);
        assert_eq!(
            function("purge_users", Dialect::Postgres),
            Function::Unknown
        );
    }
}

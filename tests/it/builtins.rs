//! What the server brings along, asked of the server itself.

use portcullis::model::Effects;
use portcullis::sql::{self, Lexer};

use crate::support::database::fresh_database;

/// Functions that clients can call: nothing internal in or out, no trigger.
const CALLABLE: &str = "
    SELECT string_agg(DISTINCT proname, ' ') FROM pg_catalog.pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace
      AND prorettype NOT IN ('internal'::regtype, 'cstring'::regtype, 'trigger'::regtype,
          'event_trigger'::regtype, 'language_handler'::regtype, 'index_am_handler'::regtype,
          'table_am_handler'::regtype, 'fdw_handler'::regtype, 'tsm_handler'::regtype)
      AND NOT 'internal'::regtype = ANY (proargtypes::oid[])
      AND NOT 'cstring'::regtype = ANY (proargtypes::oid[])";

/// Those that run a text, or read what a text names: they count as code.
const RUNNERS: [&str; 17] = [
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "plpgsql_validator",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
];

#[test]
fn no_function_of_the_server_counts_as_somebodys_code() {
    let Some(database) = fresh_database() else {
        return;
    };
    let names = database.direct().value(CALLABLE);
    let strange: Vec<&str> = names
        .split(' ')
        .filter(|name| {
            let text = format!("SELECT pg_catalog.\"{name}\"()");
            let analysis = sql::analyze(&text, Lexer::POSTGRES);
            let facts = &analysis.statements[0].facts;
            facts.effects.contains(Effects::CODE)
        })
        .filter(|name| !RUNNERS.contains(name))
        .collect();
    assert!(names.split(' ').count() > 1500, "{names}");
    assert_eq!(strange, Vec::<&str>::new());
}

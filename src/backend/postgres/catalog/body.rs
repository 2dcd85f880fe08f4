//! What the body of a user function can do, by the words in it.
//!
//! Not a parser: every word of the body counts, wherever it stands, also in
//! comments and strings. A body without any word that can change rows cannot
//! change rows; one that has such a word may change any relation it names. What
//! could name a relation without writing it out (EXECUTE, built-in functions that
//! run SQL text, Unicode escapes, definitions) makes the body opaque.

use std::collections::HashSet;
use std::sync::Arc;

use super::snapshot::{CatalogSnapshot, Function, Oid};

/// Built-in functions that run SQL text or whatever a cursor holds.
const TEXT_RUNNERS: &[&str] = &[
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
];

/// Words after which the rest of a body proves nothing.
const OPAQUE_WORDS: &[&str] = &[
    "execute", "create", "alter", "drop", "truncate", "cluster", "refresh", "import", "load",
    "reindex", "vacuum",
];

/// Words that can change rows of a relation named in the same body.
const CHANGE_WORDS: &[&str] = &["insert", "update", "delete", "merge", "copy"];

/// Words that can change what stays in the session: settings, locks, listens,
/// temporary objects, prepared statements.
const TRACE_WORDS: &[&str] = &[
    "set",
    "set_config",
    "reset",
    "listen",
    "unlisten",
    "discard",
    "prepare",
    "deallocate",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "temp",
    "temporary",
    "pg_temp",
    "hold",
    "setseed",
];

/// Built-in functions among them.
const TRACE_FUNCTIONS: &[&str] = &[
    "set_config",
    "setseed",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

/// Names of built-in functions that change what stays in the session.
pub(super) fn trace_leavers() -> &'static [&'static str] {
    TRACE_FUNCTIONS
}

/// Extensions whose C functions neither change tables nor run SQL text.
const QUIET_EXTENSIONS: &[&str] = &[
    "amcheck",
    "autoinc",
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "insert_username",
    "intagg",
    "intarray",
    "isn",
    "ltree",
    "moddatetime",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_trgm",
    "pg_uuidv7",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "postgis",
    "postgis_raster",
    "postgis_topology",
    "seg",
    "sslinfo",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// Their functions that change what stays in the session all the same.
const QUIET_EXCEPT: &[&str] = &["set_limit"];

/// Extensions whose functions work in another session, where nothing can be counted.
const ELSEWHERE_EXTENSIONS: &[&str] = &["dblink", "pg_background", "pg_cron"];

/// What code can leave in a server session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traces {
    /// Settings, locks, listens, temporary objects.
    pub state: bool,
    /// It can make or remove prepared statements.
    pub names: bool,
}

impl Traces {
    /// Code that nobody can see through.
    pub const ANY: Traces = Traces {
        state: true,
        names: true,
    };

    /// Both.
    pub fn join(self, other: Traces) -> Traces {
        Traces {
            state: self.state || other.state,
            names: self.names || other.names,
        }
    }
}

/// What a body can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BodyReach {
    /// Relations it names.
    pub(super) relations: Vec<Oid>,
    /// It may change them.
    pub(super) changes: bool,
    /// User functions it names or depends on.
    pub(super) functions: Vec<Oid>,
    /// It may do anything.
    pub(super) opaque: Option<Arc<str>>,
    /// It may do it in another session.
    pub(super) elsewhere: Option<Arc<str>>,
    /// It may change what stays in the session.
    pub(super) traces: Traces,
}

/// Whether a built-in function of this name runs SQL text that it is given.
pub(super) fn runs_text(name: &str) -> bool {
    TEXT_RUNNERS.contains(&name)
}

/// The names of all functions for which [`runs_text`] holds.
pub(super) fn text_runners() -> &'static [&'static str] {
    TEXT_RUNNERS
}

/// What calling the function can do, its own callees not followed.
///
/// `implicit`: called by an operator, a cast or a type, not by its name. C code
/// of an extension is trusted there, as the server itself trusts it.
pub(super) fn reach<'f>(
    snapshot: &CatalogSnapshot,
    function: &'f Function,
    implicit: bool,
) -> &'f BodyReach {
    function.found[usize::from(implicit)].get_or_init(|| read(snapshot, function, implicit))
}

fn read(snapshot: &CatalogSnapshot, function: &Function, implicit: bool) -> BodyReach {
    let mut reach = by_language(snapshot, function, implicit);
    if function.runs_text {
        let why = format!("function {} runs SQL text", function.name);
        reach.opaque.get_or_insert_with(|| why.into());
        reach.traces = Traces::ANY;
    }
    reach.traces.state |= function.leaves_traces;
    reach
}

fn by_language(snapshot: &CatalogSnapshot, function: &Function, implicit: bool) -> BodyReach {
    if function.aggregate {
        return BodyReach {
            functions: function.functions.clone(),
            ..BodyReach::default()
        };
    }
    match &*function.language {
        "sql" | "plpgsql" => words_reach(snapshot, function),
        "c" => c_reach(function, implicit),
        language => BodyReach {
            opaque: Some(format!("function {} is written in {language}", function.name).into()),
            traces: Traces::ANY,
            ..BodyReach::default()
        },
    }
}

fn c_reach(function: &Function, implicit: bool) -> BodyReach {
    let extension = function.extension.as_deref().unwrap_or("");
    let mut reach = BodyReach {
        functions: function.functions.clone(),
        ..BodyReach::default()
    };
    if ELSEWHERE_EXTENSIONS.contains(&extension) {
        reach.elsewhere = Some(
            format!(
                "function {} of {extension} works in another session",
                function.name
            )
            .into(),
        );
    }
    let quiet = QUIET_EXTENSIONS.contains(&extension) || (implicit && !extension.is_empty());
    if !quiet {
        reach.opaque = Some(format!("function {} is written in C", function.name).into());
        reach.traces = Traces::ANY;
    }
    reach.traces.state |= QUIET_EXCEPT.contains(&&*function.name);
    reach
}

fn words_reach(snapshot: &CatalogSnapshot, function: &Function) -> BodyReach {
    let folded = function.body.to_ascii_lowercase();
    let words = words(&folded);
    let mut reach = BodyReach {
        relations: function.relations.clone(),
        functions: function.functions.clone(),
        changes: CHANGE_WORDS.iter().any(|word| words.contains(word)),
        ..BodyReach::default()
    };
    let runner = OPAQUE_WORDS
        .iter()
        .chain(TEXT_RUNNERS)
        .find(|word| words.contains(*word))
        .or_else(|| runs_do(&folded).then_some(&"do"))
        .or_else(|| reads_cursors(&words).then_some(&"a cursor"));
    if let Some(word) = runner {
        reach.opaque =
            Some(format!("function {} holds {}", function.name, word.to_uppercase()).into());
    } else if folded.contains("u&") {
        reach.opaque = Some(format!("function {} holds names with escapes", function.name).into());
    }
    if words.contains("track_counts") {
        let why = format!("function {} may stop the counting of rows", function.name);
        reach.elsewhere = Some(why.into());
    }
    if reach.opaque.is_some() {
        reach.traces = Traces::ANY;
    } else if TRACE_WORDS.iter().any(|word| words.contains(word)) {
        reach.traces.state = true;
        let names = ["prepare", "deallocate", "discard"];
        reach.traces.names = names.iter().any(|word| words.contains(word));
    }
    for (name, oids) in &snapshot.relation_names {
        if mentions(&words, &function.body, name) {
            reach.relations.extend(oids);
        }
    }
    for (name, oids) in &snapshot.function_names {
        if mentions(&words, &function.body, name) {
            reach.functions.extend(oids);
        }
    }
    reach.relations.sort_unstable();
    reach.relations.dedup();
    reach.functions.sort_unstable();
    reach.functions.dedup();
    reach.functions.retain(|oid| *oid != function.oid);
    reach
}

/// What comes from a cursor that somebody else has opened is named nowhere.
fn reads_cursors(words: &HashSet<&str>) -> bool {
    let any = |list: [&str; 2]| list.iter().any(|word| words.contains(word));
    any(["fetch", "move"]) && any(["cursor", "refcursor"])
}

/// DO, whose text can hide every word behind escapes; the DO of ON CONFLICT is none.
fn runs_do(folded: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let bytes = folded.as_bytes();
    memchr::memmem::find_iter(bytes, b"do").any(|at| {
        let (before, behind) = (&bytes[..at], &bytes[at + 2..]);
        if before.last().is_some_and(|byte| is_word(*byte))
            || behind.first().is_some_and(|byte| is_word(*byte))
        {
            return false;
        }
        let next = behind.trim_ascii_start();
        let end = next.iter().position(|byte| !is_word(*byte));
        !matches!(&next[..end.unwrap_or(next.len())], b"nothing" | b"update")
    })
}

/// Runs of letters, digits and underscores, cut like names, also without leading digits (`1union`).
fn words(folded: &str) -> HashSet<&str> {
    let mut found = HashSet::new();
    for word in folded.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        let name = word.trim_start_matches(|c: char| c.is_ascii_digit());
        for word in [word, name] {
            found.insert(crate::model::pattern::cut(word));
        }
    }
    found.remove("");
    found
}

/// A plain name is looked up among the words; any other must appear literally.
fn mentions(words: &HashSet<&str>, body: &str, name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain {
        words.contains(name)
    } else {
        body.contains(&name.replace('"', "\"\"")) || folds_to(body, name)
    }
}

/// A name such as `café` may be written unquoted, `CAFé`.
fn folds_to(body: &str, name: &str) -> bool {
    !name.bytes().any(|b| b.is_ascii_uppercase()) && body.to_ascii_lowercase().contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> CatalogSnapshot {
        let mut snapshot = CatalogSnapshot::default();
        snapshot.relation_names.insert("users".into(), vec![1]);
        snapshot.relation_names.insert("Odd Name".into(), vec![2]);
        snapshot.function_names.insert("purge".into(), vec![10]);
        snapshot
    }

    fn function(language: &str, body: &str) -> Function {
        Function {
            oid: 99,
            schema: "public".into(),
            name: "f".into(),
            language: language.into(),
            aggregate: false,
            extension: None,
            body: body.into(),
            functions: Vec::new(),
            relations: Vec::new(),
            attribute: false,
            runs_text: false,
            leaves_traces: false,
            found: Default::default(),
        }
    }

    fn of(body: &str) -> BodyReach {
        read(&snapshot(), &function("plpgsql", body), false)
    }

    #[test]
    fn a_body_without_relations_does_nothing() {
        let found = of("BEGIN NEW.changed_at := now(); RETURN NEW; END");
        assert_eq!(found, BodyReach::default());
    }

    #[test]
    fn finds_relations_however_they_are_written() {
        let bodies = [
            "DELETE FROM users",
            "delete from USERS",
            "delete from public.\"users\"",
            "DELETE/**/FROM/**/users;",
            "x$$DELETE from users$$",
        ];
        for body in bodies {
            let found = of(body);
            assert_eq!((found.relations, found.changes), (vec![1], true), "{body}");
        }
        assert_eq!(of("delete from \"Odd Name\"").relations, [2]);
        assert!(!of("select 1 from users").changes);
    }

    #[test]
    fn follows_functions_by_name() {
        assert_eq!(of("PERFORM purge(1)").functions, [10]);
        assert_eq!(of("SELECT u.purge FROM x u").functions, [10]);
    }

    #[test]
    fn the_do_of_on_conflict_runs_nothing() {
        for body in [
            "INSERT INTO x VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO x VALUES (1) ON CONFLICT (id) DO\n\tUPDATE SET id = 2",
            "-- what we do: nothing much. undo(); done; do_it()",
        ] {
            let found = of(body);
            assert_eq!(found.opaque.is_some(), body.contains("do:"), "{body}");
        }
    }

    #[test]
    fn counting_that_code_may_stop_is_not_enough() {
        let found = of("PERFORM set_config('track_counts', 'off', true)");
        assert!(found.elsewhere.is_some());
    }

    #[test]
    fn gives_up_on_what_it_cannot_bound() {
        let bodies = [
            "DO E'\\x62egin'",
            "do$$begin end$$",
            "DO/**/LANGUAGE plpgsql ''",
            "insert into x values (1) on conflict do nothing; do 'x'",
            "EXECUTE 'DELETE FROM ' || t",
            "SELECT query_to_xml(q, true, false, '')",
            "DELETE FROM U&\"\\0075sers\"",
            "TRUNCATE users",
            "declare c refcursor := 'cc'; begin fetch c into r; end",
            "declare c cursor for select 1; begin c := 'cc'; move c; end",
            "DROP TABLE users",
        ];
        for body in bodies {
            assert!(of(body).opaque.is_some(), "{body}");
        }
        for language in ["plpython3u", "internal", "c", "plperl"] {
            assert!(
                read(&snapshot(), &function(language, "x"), false)
                    .opaque
                    .is_some(),
                "{language}"
            );
        }
    }

    #[test]
    fn trusts_extension_code_behind_operators_only() {
        let mut code = function("c", "hstore_eq");
        code.extension = Some("some_extension".into());
        assert!(read(&snapshot(), &code, false).opaque.is_some());
        assert!(read(&snapshot(), &code, true).opaque.is_none());
        code.extension = Some("pg_trgm".into());
        assert!(read(&snapshot(), &code, false).opaque.is_none());
        code.extension = Some("dblink".into());
        assert!(read(&snapshot(), &code, false).elsewhere.is_some());
    }
}

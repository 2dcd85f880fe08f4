//! psql and pg_dump.

use super::{Scene, scene, scene_with};
use crate::support::database::fresh_database;
use crate::support::programs::{output, tool};
use crate::support::raw::Raw;

fn psql(scene: &Scene, arguments: &[&str]) -> (String, String) {
    let mut command = tool("psql");
    let output = scene.lead(command.arg("-X").args(arguments)).output();
    let output = output.expect("psql runs: `cargo xtask setup` installs it");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn psql_describes_and_lists() {
    let Some(scene) = scene() else { return };
    let (out, errors) = psql(&scene, &["-c", "\\dt"]);
    assert!(out.contains("users"), "{out}{errors}");
    let (out, errors) = psql(&scene, &["-c", "\\d users"]);
    assert!(
        out.contains("users_pkey") && out.contains("double precision"),
        "{out}{errors}"
    );
    for command in [
        "\\l",
        "\\df",
        "\\dn+",
        "\\du",
        "\\conninfo",
        "\\dv",
        "\\d+ users",
    ] {
        let (_, errors) = psql(&scene, &["-c", command]);
        assert!(!errors.contains("ERROR"), "{command}: {errors}");
    }
}

#[test]
fn psql_shows_a_refusal_with_everything_a_person_needs() {
    let Some(scene) = scene() else { return };
    let (_, errors) = psql(
        &scene,
        &["-v", "VERBOSITY=verbose", "-c", "DELETE FROM users"],
    );
    for piece in [
        "ERROR:  42501",
        "DETAIL:",
        "HINT:",
        "CONSTRAINT NAME:  require-where/",
    ] {
        assert!(errors.contains(piece), "{piece} is missing in\n{errors}");
    }
    let (out, errors) = psql(&scene, &["-c", "SELECT count(*) FROM users", "-At"]);
    assert_eq!(out.trim(), "300", "{errors}");
}

#[test]
fn psql_copies_from_standard_input_and_fetches_in_pieces() {
    let Some(scene) = scene() else { return };
    let script = "create temp table t (a int);\n\\copy t from program 'seq 1 90'\nselect sum(a) from t;\n\
                  \\set FETCH_COUNT 7\nselect id from users order by id limit 20;\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script).expect("the script");
    let (out, errors) = psql(&scene, &["-At", "-f", &file.to_string_lossy()]);
    assert!(out.contains("4095"), "{out}\n{errors}");
    assert!(
        out.lines()
            .filter(|line| line.parse::<u32>().is_ok_and(|n| n <= 20))
            .count()
            >= 20,
        "{out}\n{errors}"
    );
}

#[test]
fn psql_stores_and_reads_large_objects() {
    let Some(scene) = scene() else { return };
    // libpq does it with FunctionCall, over several messages of one transaction.
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    std::fs::write(&from, &bytes).expect("a file");
    let import = format!("\\lo_import '{}'", from.display());
    let export = format!("\\lo_export :LASTOID '{}'", to.display());
    let script = ["-c", &import, "-c", &export, "-c", "\\lo_unlink :LASTOID"];
    let (out, errors) = psql(&scene, &script);
    assert!(out.contains("lo_unlink"), "{out}{errors}");
    assert!(std::fs::read(&to).expect("a file") == bytes, "other bytes");
}

/// More than tables: what a dump has to put in order.
const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'angry');
    CREATE TABLE people (id int PRIMARY KEY, feels mood DEFAULT 'calm', doubled int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO people (id) SELECT generate_series(1, 2000);
    CREATE VIEW angry AS SELECT * FROM people WHERE feels = 'angry';
    CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE INDEX feelings ON people (feels) WHERE id > 5;
    COMMENT ON TABLE people IS 'somebody''s';
    SELECT lo_from_bytea(0, convert_to('kept in the dump', 'UTF8'));
";

/// What must be equal in a restored database.
fn content(client: &mut Raw) -> Vec<Vec<Option<String>>> {
    [
        "SELECT id, name, born, score, tags, extra FROM users ORDER BY id",
        "SELECT * FROM people ORDER BY id",
        "SELECT one()::text, obj_description('people'::regclass)",
        "SELECT encode(lo_get(oid), 'escape') FROM pg_largeobject_metadata",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT pg_get_viewdef('angry'::regclass)",
    ]
    .iter()
    .flat_map(|sql| client.rows(sql))
    .collect()
}

/// Dumps through the gate with these arguments, over so many server connections
/// at most, and restores into another database.
fn dump_and_restore(arguments: &[&str], max: usize) {
    let Some(scene) = scene_with(max) else { return };
    scene.database.prepare(SCHEMA);
    let restored = fresh_database().expect("a second database");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump");
    let mut dump = tool("pg_dump");
    dump.args(arguments)
        .args(["--exclude-table=canary_*", "-f"])
        .arg(&file);
    output(scene.lead(&mut dump));
    let mut restore = tool("pg_restore");
    restore
        .args(["--exit-on-error", "-h", "127.0.0.1", "-U", "postgres"])
        .args([
            "-p",
            &restored.address.port().to_string(),
            "-d",
            &restored.name,
        ])
        .arg(&file);
    output(&mut restore);
    let (wanted, got) = (
        content(&mut scene.database.admin()),
        content(&mut restored.admin()),
    );
    assert_eq!(wanted.len(), 300 + 2000 + 1 + 1 + 4 + 1, "{wanted:?}");
    assert!(wanted == got, "the restored database is another one");
    scene.server_connections_were_shared();
}

#[test]
fn pg_dump_makes_an_archive_that_restores() {
    dump_and_restore(&["--format=custom", "--blobs"], 1);
}

#[test]
fn pg_dump_in_parallel_sees_one_snapshot_and_restores() {
    // One transaction that exports the snapshot, and one for each job.
    dump_and_restore(&["--format=directory", "--jobs=2", "--blobs"], 3);
}

//! Code that carries statements.

use crate::model::{Access, Predicate};
use crate::sql::{Lexer, analyze};

#[test]
fn code_with_an_unbounded_change_has_no_predicate() {
    let cases = [
        (
            "CREATE RULE r AS ON INSERT TO a DO UPDATE b SET x = 1",
            Predicate::None,
        ),
        (
            "CREATE RULE r AS ON INSERT TO a DO INSTEAD UPDATE b SET x = 1 WHERE id = 2",
            Predicate::NotApplicable,
        ),
        ("DO 'begin delete from users; end'", Predicate::None),
        (
            "DO $$ begin delete from users where id = 1; end $$",
            Predicate::NotApplicable,
        ),
        (
            "DO $$ begin if true then update users set a = 1 where 1=1; end if; end $$",
            Predicate::AlwaysTrue,
        ),
        (
            "DO $$ begin for r in delete from users returning * loop null; end loop; end $$",
            Predicate::None,
        ),
        (
            "DO $$ begin execute 'delete from users'; end $$",
            Predicate::None,
        ),
        (
            "DO $$ begin execute 'delete from ' || quote_ident(t); end $$",
            Predicate::NotApplicable,
        ),
        (
            "DO $$ begin perform 1 from users for update; end $$",
            Predicate::NotApplicable,
        ),
        (
            "DO $$ begin insert into t values (1) on conflict (id) do update set a = 1; end $$",
            Predicate::NotApplicable,
        ),
        (
            "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b WHERE id = 1; DELETE FROM c)",
            Predicate::None,
        ),
        (
            "CREATE RULE r AS ON UPDATE TO a DO INSTEAD NOTHING",
            Predicate::NotApplicable,
        ),
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'delete from users'",
            Predicate::None,
        ),
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'delete from users where id = 1'",
            Predicate::NotApplicable,
        ),
        (
            "SELECT dblink_exec('x', 'DELETE FROM users')",
            Predicate::None,
        ),
        ("SELECT 'DELETE FROM users'", Predicate::NotApplicable),
    ];
    for (text, expected) in cases {
        let analysis = analyze(text, Lexer::POSTGRES);
        let facts = &analysis.statements[0].facts;
        let touched = facts
            .relations
            .iter()
            .any(|r| r.access.intersects(Access::DELETE | Access::UPDATE));
        assert_eq!(facts.predicate, expected, "{text}");
        if text.starts_with("SELECT '") {
            assert!(!touched, "a constant is no code: {text}");
        }
    }
}

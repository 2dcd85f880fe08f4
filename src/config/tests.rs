//! What the loader accepts, and how it says what it does not.

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

fn read_ok(text: &str) -> Config {
    parse(text, "/dir/p.toml", &|name| {
        (name == "SET").then(|| "from-env".to_owned())
    })
    .unwrap_or_else(|list| panic!("{}", list.iter().map(|d| d.to_string()).collect::<String>()))
}

fn complaints(text: &str) -> String {
    match parse(text, "p.toml", &|_| None) {
        Ok(config) => config.warnings.iter().map(Diagnostic::to_string).collect(),
        Err(list) => list.iter().map(Diagnostic::to_string).collect(),
    }
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&complaints(text));
}

const WHOLE: &str = r#"
workers = 2
state_dir = "state"
[[listen]]
protocol = "postgres"
address = "localhost:6432"
[[database]]
name = "app"
backend = "postgres://app:p%40@db.internal:5433/app"
pool = { max = 7, idle_timeout = "1m" }
operator = { user = "op", password = "env:SET" }
[[database]]
name = "small"
backend = "sqlite:small.db"
[[user]]
name = "app"
password = "env:SET"
server = { user = "app", set_role = "app_rw" }
databases = ["app"]
[[user]]
name = "guest"
auth = "trust"
[[policy]]
name = "honeytoken"
settings = { tables = ["canary", "secret_*"] }
mode = "monitor"
[table_limits]
users = 100
"sensitive_*" = 10
[[policy]]
name = "mine"
plugin = "plugins/mine.wasm"
budget = "5ms"
on_fault = "last-good"
except_users = ["admin"]
[defaults]
mode = "monitor"
[admin]
address = "127.0.0.1:9632"
[log]
format = "json"
[limits]
message_bytes_max = "1MiB"
"#;

#[test]
fn an_interpreted_policy_has_more_time() {
    let policy = |more: &str| {
        let text = format!("{WHOLE}\n[[policy]]\nname = \"py\"\nplugin = \"p/py.wasm\"\n{more}");
        let config = read_ok(&text);
        let found = config.policies.iter().find(|policy| &*policy.name == "py");
        let found = found.expect("the policy");
        (found.runtime, found.budget.as_millis())
    };
    assert_eq!(policy(""), (Runtime::Ordinary, 2));
    let interpreted = "runtime = \"interpreted\"";
    assert_eq!(policy(interpreted), (Runtime::Interpreted, 50));
    let both = format!("{interpreted}\nbudget = \"9ms\"");
    assert_eq!(policy(&both), (Runtime::Interpreted, 9));
}

#[test]
fn reads_everything_it_documents() {
    let config = read_ok(WHOLE);
    assert_eq!(config.workers, 2);
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/dir/state")));
    assert_eq!(
        config.run_dir().as_deref(),
        Some(Path::new("/dir/state/run"))
    );
    let elsewhere = read_ok(&format!("run_dir = \"/run/p\"\n{WHOLE}"));
    assert_eq!(elsewhere.run_dir().as_deref(), Some(Path::new("/run/p")));
    assert_eq!(config.listen[0].address.to_string(), "127.0.0.1:6432");
    let Backend::Postgres(postgres) = &config.databases[0].backend else {
        panic!()
    };
    assert_eq!(postgres.password.as_ref().unwrap().reveal(), "p@");
    assert_eq!(
        postgres
            .operator
            .as_ref()
            .unwrap()
            .1
            .as_ref()
            .unwrap()
            .reveal(),
        "from-env"
    );
    assert_eq!(config.databases[0].pool.max, 7);
    assert!(
        matches!(&config.databases[1].backend, Backend::Sqlite { path: Some(path) } if path == Path::new("/dir/small.db"))
    );
    assert!(
        matches!(&config.users[0].credential, Credential::Password(p) if p.reveal() == "from-env")
    );
    assert_eq!(config.users[0].set_role.as_deref(), Some("app_rw"));
    assert_eq!(config.users[1].method, Method::Trust);
    assert_eq!(config.admin.unwrap().port(), 9632);
    assert!(config.log.json);
    assert_eq!(config.limits.message_bytes_max, 1 << 20);
    assert!(config.warnings.is_empty());
    assert!(
        !format!("{config:?}").contains("from-env"),
        "Debug must not print secrets"
    );
}

#[test]
fn puts_policies_in_the_order_of_the_file_and_appends_the_default_ones() {
    let config = read_ok(WHOLE);
    let got: Vec<_> = config.policies.iter().map(|p| (&*p.name, p.mode)).collect();
    assert_eq!(
        got,
        [
            ("honeytoken", Mode::Monitor),
            ("table_limits", Mode::Enforce),
            ("mine", Mode::Enforce),
            ("rate-limit", Mode::Monitor),
            ("plan-guard", Mode::Monitor),
            ("require-where", Mode::Monitor),
        ]
    );
    assert_eq!(
        &*config.policies[1].settings,
        r#"{"users":100,"sensitive_*":10}"#
    );
    assert_eq!(
        config.policies[2].plugin,
        Plugin::File("/dir/plugins/mine.wasm".into())
    );
}

#[test]
fn what_is_built_in_runs_only_where_it_is_named_unless_it_is_a_default() {
    let config = read_ok("[[policy]]\nname = \"read-only\"\n");
    let names: Vec<&str> = config.policies.iter().map(|p| &*p.name).collect();
    assert_eq!(names[0], "read-only");
    assert_eq!(&names[1..], DEFAULT_POLICIES);
    assert_eq!(
        config.policies[0].plugin,
        Plugin::BuiltIn("read-only".into())
    );
}

#[test]
fn accepts_an_empty_file() {
    let config = read_ok("");
    assert_eq!(config.policies.len(), DEFAULT_POLICIES.len());
    assert_eq!(config.listen, [Listen::default()]);
}

#[test]
fn the_demonstration_is_complete() {
    let config = Config::builtin_demo(Path::new("/tmp/x.db"), "127.0.0.1:0".parse().unwrap());
    assert_eq!(config.users.len(), 1);
    assert_eq!(config.databases.len(), 1);
    assert_eq!(config.policies.len(), DEFAULT_POLICIES.len());
}

#[test]
fn suggests_the_key_that_was_meant() {
    check(
        "[[user]]\nname = \"a\"\npasword = \"geheim\"\nauth = \"trust\"\n",
        expect![[r#"
            error: unknown key `pasword` in `user`
             --> p.toml:3:1
            3 | pasword = "***"
              | ^^^^^^^ did you mean `password`?
        "#]],
    );
    check(
        "workers = 1\ncolour = 2",
        expect![[r#"
            error: unknown key `colour`
             --> p.toml:2:1
            2 | colour = 2
              | ^^^^^^ known keys: listen, database, user, auth, auth_query, table_limits, policy, trusted_keys, defaults, analysis, admin, console, log, limits, ignore_startup_parameters, workers, state_dir, run_dir
        "#]],
    );
}

#[test]
fn reports_all_problems_at_once_in_the_order_of_the_file() {
    check(
        "workers = \"many\"\r\n[[listen]]\r\naddress = \"db.internal:6432\"\r\n[[database]]\r\nname = \"größe\"\r\nbackend = \"oracle://scott:tiger@x\"\r\npool = { mode = \"transction\", max = 0 }\r\n[[user]]\r\nname = \"a\"\r\n[[policy]]\r\nname = \"rate-limt\"\r\nmode = \"on\"\r\nbudget = \"5\"",
        expect![[r#"
            error: `workers` must be a whole number, not a string
             --> p.toml:1:11
            1 | workers = "many"
              |           ^^^^^^
            error: "db.internal:6432" is not an address to listen on
             --> p.toml:3:11
            3 | address = "db.internal:6432"
              |           ^^^^^^^^^^^^^^^^^^ a listener needs a numeric address: 127.0.0.1:6432
            error: the backend URL is of an unknown kind
             --> p.toml:6:11
            6 | backend = "oracle://scott:***@x"
              |           ^^^^^^^^^^^^^^^^^^^^^^ write postgres://user@host:5432/database or sqlite:PATH
            error: `mode` must be "session" or "transaction" or "statement"
             --> p.toml:7:17
            7 | pool = { mode = "transction", max = 0 }
              |                 ^^^^^^^^^^^^ did you mean "transaction"?
            error: `max` must be between 1 and 100000
             --> p.toml:7:37
            7 | pool = { mode = "transction", max = 0 }
              |                                     ^
            error: the user has no password
             --> p.toml:8:1
            8 | [[user]]
              | ^^^^^^^^ add `password = "env:NAME"`, or `auth = "trust"` to let everybody in under this name
            error: there is no built-in plugin `rate-limt`
              --> p.toml:11:8
            11 | name = "rate-limt"
               |        ^^^^^^^^^^^ did you mean "rate-limit"?
            error: `mode` must be "enforce" or "monitor" or "off"
              --> p.toml:12:8
            12 | mode = "on"
               |        ^^^^
            error: `budget`: the unit is missing
              --> p.toml:13:10
            13 | budget = "5"
               |          ^^^ write it like "250ms", "5s" or "2m"
        "#]],
    );
}

#[test]
fn reports_broken_syntax_with_its_place() {
    check(
        "workers = 1\n[[user]\nname = \"a\"",
        expect![[r#"
            error: unclosed array table
             --> p.toml:2:8
            2 | [[user]
              |        ^ expected `]`
        "#]],
    );
    check(
        "a = 1\na = 2",
        expect![[r#"
            error: duplicate key
             --> p.toml:2:1
            2 | a = 2
              | ^
        "#]],
    );
}

#[test]
fn checks_that_names_are_unique_and_resolve() {
    check(
        "[[database]]\nname = \"shop\"\nbackend = \"sqlite:a\"\n[[database]]\nname = \"shop\"\nbackend = \"sqlite:b\"\n[[user]]\nname = \"u\"\npassword = \"env:NOPE\"\ndatabases = [\"shpo\"]\n[table_limits]\nusers = 1\n[[policy]]\nname = \"table_limits\"\nplugin = \"table-limit\"\n",
        expect![[r#"
            error: the database `shop` stands twice
             --> p.toml:5:8
            5 | name = "shop"
              |        ^^^^^^ the first one is in line 2
            error: the environment variable `NOPE` is not set
             --> p.toml:9:12
            9 | password = "env:NOPE"
              |            ^^^^^^^^^^ set it: export NOPE=…
            error: there is no database `shpo`
              --> p.toml:10:14
            10 | databases = ["shpo"]
               |              ^^^^^^ did you mean "shop"?
            error: the policy `table_limits` stands twice
              --> p.toml:14:8
            14 | name = "table_limits"
               |        ^^^^^^^^^^^^^^ the first one is in line 11
        "#]],
    );
}

#[test]
fn finds_settings_inside_nested_lists_and_inline_tables() {
    let text = "[[policy]]\nname = \"rate-limit\"\nsettings = { buckets = [ { name = \"ü\", by = [\"user\", 7] },\n  { \"a/b~c\" = 1 } ] }\n";
    let config = read_ok(text);
    let policy = &config.policies[0];
    let at = |pointer: &str| policy.position(pointer).map(|p| (p.line, p.column));
    assert_eq!(at(""), Some((3, 12)));
    assert_eq!(at("/buckets/0"), Some((3, 26)));
    assert_eq!(at("/buckets/0/by/1"), Some((3, 54)));
    assert_eq!(at("/buckets/1/a~1b~0c"), Some((4, 15)));
    assert_eq!(at("/buckets/1/missing"), Some((4, 3)));
    assert_eq!(at("/nothing"), Some((3, 12)));
}

#[test]
fn finds_settings_in_tables_of_their_own() {
    let text = "[[policy]]\nname = \"honeytoken\"\n\n[policy.settings]\n# names\ntables = [\n  \"a\",\n  5,\n]\n[table_limits]\nusers = { changed = \"x\" }\n";
    let config = read_ok(text);
    assert_eq!(
        config.policies[0].position("/tables/1"),
        Some(Position { line: 8, column: 3 })
    );
    assert_eq!(
        config.policies[1].position("/users/changed"),
        Some(Position {
            line: 11,
            column: 21
        })
    );
}

#[test]
fn reads_without_secrets_when_nothing_will_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    std::fs::write(&path, "[[database]]\nname = \"a\"\nbackend = \"env:NOPE\"\n[[user]]\nname = \"u\"\npassword = \"file:nope\"\n").unwrap();
    assert!(load(&path).is_err());
    assert_eq!(load_without_secrets(&path).unwrap().databases.len(), 1);
}

#[test]
fn docs_configuration_page_is_fresh() {
    check_page("docs/configuration.md", &markdown());
}

#[test]
fn never_panics_on_damaged_files() {
    for end in 0..WHOLE.len() {
        if WHOLE.is_char_boundary(end) {
            complaints(&WHOLE[..end]);
            complaints(&WHOLE[end..]);
            complaints(&format!("{}é\"{}", &WHOLE[..end], &WHOLE[end..]));
        }
    }
}

//! The page `docs/configuration.md`, from the keys the reader accepts.

use super::reference::{Key, SECTIONS};

/// The page `docs/configuration.md`.
pub fn markdown() -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Generated from src/config/reference.rs: `UPDATE_DOCS=1 cargo test --lib docs_` writes it anew. -->\n\n\
         One TOML file. An unknown key is an error; `portcullis check FILE` shows every problem at once, with its \
         place; with `--connect` it also goes to the servers: whether logins work, the catalog can be read, roles \
         can be taken and changed rows are counted. Durations are written `\"250ms\"`, `\"5s\"`, `\"2m\"` or `\"1h\"`, sizes as a number of bytes or \
         `\"64KiB\"`, `\"16MiB\"`, `\"1GiB\"`. A changed file takes effect without a restart; a file with an error \
         changes nothing and is reported. The addresses of `listen`, `admin`, `workers` and `limits` take effect at the next start.\n",
    );
    for section in SECTIONS {
        let header = match (section.path, section.repeated) {
            ("", _) => "The file".to_owned(),
            (path, true) => format!("`[[{path}]]`"),
            (path, false) if path.contains('.') => format!("`{path}`"),
            (path, false) => format!("`[{path}]`"),
        };
        let _ = write!(
            out,
            "\n## {header}\n\n{}\n\n| key | value | default | |\n|---|---|---|---|\n",
            section.text
        );
        for Key {
            name,
            kind,
            default,
            text,
        } in section.keys
        {
            let _ = writeln!(out, "| `{name}` | {kind} | {default} | {text} |");
        }
        if section.path == "user.server" {
            out.push_str(TABLE_LIMITS);
        }
    }
    out
}

const TABLE_LIMITS: &str = "
## `[table_limits]`

Names or patterns (`*`, `?`) and how many rows one statement may change or return:

```toml
[table_limits]
users = 100                                  # changed and returned alike
\"sensitive_*\" = 10
orders = { changed = 100, returned = 5000 }
```

It is a policy of plugin `table-limit` with the name `table_limits`, always enforced.
";

/// Compares a generated page with the one in the repository, or writes it.
#[cfg(test)]
pub(crate) fn check_page(path: &str, wanted: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is stale: run `UPDATE_DOCS=1 cargo test --lib docs_`",
        path.display()
    );
}

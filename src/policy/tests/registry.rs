//! `docs/registry.md` lists the open registries; this keeps it true.

use std::fmt::Write;

use crate::model::code::{
    Access, ColumnUses, Dialect, Effects, EventField, Kind, Outcome, Predicate, Traits,
    ValueFeatures, Via,
};
use crate::model::{Measure, Severity};
use crate::sql::{AST_KINDS, AST_VERSION};

const HEAD: &str = "# Open registries

Numbers that cross the policy interface (`wit/policy.wit`). They are never reused or renumbered; a reader treats a number it does not know as \"other\", and ignores bits it does not know. This page is written by `UPDATE_DOCS=1 cargo test --lib registry`.
";

#[test]
fn the_registry_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/registry.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "run `UPDATE_DOCS=1 cargo test --lib registry`"
    );
}

fn page() -> String {
    let mut page = HEAD.to_owned();

    table(
        &mut page,
        "Kinds of statements",
        "kind",
        &Kind::ALL
            .iter()
            .map(|k| (k.code(), k.name()))
            .collect::<Vec<_>>(),
    );
    bits(
        &mut page,
        "Effects",
        Effects::NAMES.iter().map(|(bit, name)| (bit.bits(), *name)),
    );
    bits(
        &mut page,
        "Traits",
        Traits::NAMES.iter().map(|(bit, name)| (bit.bits(), *name)),
    );
    bits(
        &mut page,
        "Access to a relation",
        Access::NAMES.iter().map(|(bit, name)| (bit.bits(), *name)),
    );
    table(
        &mut page,
        "How a relation is reached",
        "via",
        &Via::ALL
            .iter()
            .map(|v| (v.code(), v.name()))
            .collect::<Vec<_>>(),
    );
    table(
        &mut page,
        "Predicates",
        "predicate",
        &Predicate::ALL
            .iter()
            .map(|p| (p.code(), p.name()))
            .collect::<Vec<_>>(),
    );
    table(
        &mut page,
        "Dialects",
        "dialect",
        &Dialect::ALL
            .iter()
            .map(|d| (d.code(), d.name()))
            .collect::<Vec<_>>(),
    );
    table(
        &mut page,
        "Outcomes of statements",
        "outcome",
        &Outcome::ALL
            .iter()
            .map(|o| (o.code(), o.name()))
            .collect::<Vec<_>>(),
    );
    table(
        &mut page,
        "Fields of events",
        "field",
        &EventField::ALL
            .iter()
            .map(|f| (f.code(), f.name()))
            .collect::<Vec<_>>(),
    );
    bits(
        &mut page,
        "Uses of a column",
        ColumnUses::NAMES
            .iter()
            .map(|(bit, name)| (bit.bits(), *name)),
    );
    bits(
        &mut page,
        "Features of values",
        ValueFeatures::NAMES
            .iter()
            .map(|(bit, name)| (bit.bits(), *name)),
    );
    let measures: Vec<_> = (0..64)
        .filter_map(Measure::from_code)
        .map(|m| (m as u32, m.name()))
        .collect();
    table(&mut page, "Measures of plans", "measure", &measures);
    let severities =
        [Severity::Info, Severity::Warning, Severity::Critical].map(|s| (s as u32, s.name()));
    table(&mut page, "Severities of alerts", "severity", &severities);
    table(
        &mut page,
        "Levels of log lines",
        "level",
        &[
            (1, "error"),
            (2, "warning"),
            (3, "information"),
            (4, "debug"),
        ],
    );
    table(
        &mut page,
        "Transaction states",
        "state",
        &[(0, "idle"), (1, "active"), (2, "failed")],
    );
    table(
        &mut page,
        "Disguises",
        "disguise",
        &[(1, "undefined table")],
    );
    table(&mut page, "Methods of masking", "method", &[(0, "NULL")]);
    bits(
        &mut page,
        "Dimensions of a rate",
        [
            (1, "user"),
            (2, "address"),
            (4, "application"),
            (8, "database"),
            (16, "statement class"),
        ]
        .into_iter(),
    );
    let _ = write!(
        page,
        "\n## Nodes of the syntax tree, version {AST_VERSION}\n\n| number | node | holds |\n|---:|---|---|\n"
    );
    for (code, name, holds) in AST_KINDS {
        let _ = writeln!(page, "| {code} | {name} | {holds} |");
    }
    page
}

fn table(page: &mut String, title: &str, column: &str, rows: &[(u32, &str)]) {
    let _ = write!(page, "\n## {title}\n\n| number | {column} |\n|---:|---|\n");
    for (code, name) in rows {
        let _ = writeln!(page, "| {code} | {name} |");
    }
}

fn bits(page: &mut String, title: &str, rows: impl Iterator<Item = (u64, &'static str)>) {
    let _ = write!(page, "\n## {title}\n\n| bit | name |\n|---:|---|\n");
    for (bit, name) in rows {
        let _ = writeln!(page, "| {bit} | {name} |");
    }
}

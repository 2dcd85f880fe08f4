//! The gate's own SQLSTATEs, for `docs/errors.md`.

/// One code: SQLSTATE, when it comes, what to do.
pub const CODES: &[(&str, &str, &str)] = &[
    (
        "42501",
        "A policy refused the statement or the connection, or the statement cannot be fully understood and might write.",
        "The hint says what to write instead. The constraint name says which policy and rule.",
    ),
    (
        "42601",
        "The text cannot be read: an unclosed quote, a byte that the encoding does not allow, too long or too deep.",
        "Correct the text.",
    ),
    (
        "42P01",
        "The relation does not exist; also what a disguised refusal looks like.",
        "Check the name.",
    ),
    (
        "53400",
        "A rate is exceeded.",
        "The message says how long to wait.",
    ),
    (
        "54000",
        "More rows than a limit allows would be changed or returned. Nothing has changed.",
        "Narrow the condition, or work in smaller steps.",
    ),
    (
        "54001",
        "The plan is too expensive.",
        "Add a condition that an index can serve, or a limit.",
    ),
    (
        "58000",
        "A policy failed, and is configured to refuse then.",
        "Tell the operator the incident id from the detail.",
    ),
    (
        "0A000",
        "The gate does not support this part of the protocol or of SQL.",
        "The hint names another way, where there is one.",
    ),
    (
        "08P01",
        "The client broke the protocol.",
        "Update the driver.",
    ),
    (
        "08006",
        "The database server cannot be reached.",
        "Tell the operator.",
    ),
    (
        "28P01",
        "The user name or the password is wrong.",
        "Check both; the answer does not say which.",
    ),
    (
        "3D000",
        "There is no such database, or the user may not connect to it.",
        "Check the name.",
    ),
    (
        "53300",
        "Too many clients, or no server connection became free in time.",
        "Try again later, or raise `limits.clients_max` or `pool.max`.",
    ),
    ("57P01", "The gate stops.", "Connect again."),
    (
        "XX000",
        "A defect in the gate.",
        "Report it with the incident id from the detail.",
    ),
];

/// The page `docs/errors.md`.
pub fn markdown() -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "# Error codes\n\n\
         <!-- Generated from src/app/errors.rs: `UPDATE_DOCS=1 cargo test --lib docs_` writes it anew. -->\n\n\
         Errors of the database pass through unchanged. What the gate itself says carries one of these codes. In a \
         refusal the constraint name is `policy/rule`, and the detail ends with an incident id that is also in the \
         log. The code of a refusal never makes a driver repeat the statement.\n\n\
         | code | when | what to do |\n|---|---|---|\n",
    );
    for (code, when, then) in CODES {
        let _ = writeln!(out, "| `{code}` | {when} | {then} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_errors_page_is_fresh() {
        crate::config::check_page("docs/errors.md", &markdown());
    }

    #[test]
    fn every_code_of_a_refusal_is_explained() {
        let source = include_str!("../model/refusal.rs");
        let codes = source
            .split("&str = \"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        for code in codes.filter(|code| code.len() == 5) {
            assert!(CODES.iter().any(|(known, ..)| *known == code), "{code}");
        }
    }
}

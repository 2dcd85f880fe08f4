//! Settings that are more than a matter of taste.

/// Settings that decide whose rights are used.
pub fn is_privilege(name: &str) -> bool {
    matches!(
        name,
        "role" | "session_authorization" | "row_security" | "session_replication_role" | "*"
    )
}

/// Whether the new value switches a protection off.
pub fn drops_protection(name: &str, value: Option<&str>) -> bool {
    let off = || {
        value.is_some_and(|value| {
            matches!(
                value.to_ascii_lowercase().as_str(),
                "off" | "false" | "0" | "no"
            )
        })
    };
    match name {
        "session_replication_role" => {
            value.is_some_and(|value| !value.eq_ignore_ascii_case("origin"))
        }
        "row_security" => off(),
        "zero_damaged_pages"
        | "ignore_checksum_failure"
        | "allow_system_table_mods"
        | "ignore_system_indexes" => value.is_some() && !off(),
        _ => false,
    }
}

/// SQLite's pragmas that switch a protection off or damage the file.
pub fn pragma_drops_protection(name: &str) -> bool {
    matches!(
        name,
        "writable_schema"
            | "foreign_keys"
            | "defer_foreign_keys"
            | "ignore_check_constraints"
            | "journal_mode"
            | "synchronous"
            | "trusted_schema"
            | "recursive_triggers"
            | "schema_version"
            | "user_version"
            | "application_id"
            | "hard_heap_limit"
            | "locking_mode"
            | "page_size"
            | "auto_vacuum"
            | "encoding"
            | "cell_size_check"
            | "legacy_alter_table"
            | "query_only"
    )
}

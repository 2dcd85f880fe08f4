//! What psql and drivers ask the catalog.

use rusqlite::types::Value;
use rusqlite::{Connection, Result};

use super::super::catalog::Names;
use super::super::engine::Identity;
use super::super::types;
use super::{add, failure, flags, integer, text};
use crate::backend::rows::Type;

pub(super) fn register(connection: &Connection, identity: &Identity, names: &Names) -> Result<()> {
    let user = identity.user.clone();
    add(connection, "pg_get_userbyid", 1, move |_| Ok(user.clone()))?;
    add(connection, "pg_encoding_to_char", 1, |_| Ok("UTF8"))?;
    add(connection, "format_type", 2, |c| {
        let Some(oid) = integer(c, 0) else {
            return Ok(None);
        };
        let kind = Type::from_oid(oid as u32).with(integer(c, 1).unwrap_or(-1) as i32);
        Ok(Some(types::display(kind)))
    })?;
    for (name, arguments) in [
        ("pg_table_is_visible", 1),
        ("pg_type_is_visible", 1),
        ("pg_function_is_visible", 1),
        ("has_table_privilege", 2),
        ("has_table_privilege", 3),
        ("has_schema_privilege", 2),
        ("has_schema_privilege", 3),
        ("has_database_privilege", 2),
        ("has_column_privilege", 3),
        ("pg_relation_is_publishable", 1),
    ] {
        add(connection, name, arguments, |_| Ok(true))?;
    }
    for (name, arguments) in [
        ("obj_description", 2),
        ("obj_description", 1),
        ("col_description", 2),
        ("shobj_description", 2),
        ("pg_partition_ancestors", 1),
        ("pg_get_function_result", 1),
        ("pg_get_function_arguments", 1),
        ("pg_get_function_identity_arguments", 1),
        ("pg_get_ruledef", 2),
    ] {
        add(connection, name, arguments, |_| Ok(None::<String>))?;
    }
    for name in [
        "pg_table_size",
        "pg_relation_size",
        "pg_total_relation_size",
        "pg_indexes_size",
    ] {
        add(connection, name, 1, |_| Ok(0))?;
    }
    add(connection, "pg_size_pretty", 1, |c| {
        Ok(integer(c, 0).map(|n| format!("{n} bytes")))
    })?;
    for arguments in [2, 3] {
        add(connection, "pg_get_expr", arguments, |c| {
            Ok(Value::from(c.get_raw(0)))
        })?;
    }
    definitions(connection, names)
}

fn definitions(connection: &Connection, names: &Names) -> Result<()> {
    for (name, arguments) in [
        ("pg_get_indexdef", 1),
        ("pg_get_indexdef", 3),
        ("pg_get_constraintdef", 1),
        ("pg_get_constraintdef", 2),
        ("pg_get_viewdef", 1),
        ("pg_get_viewdef", 2),
        ("pg_get_triggerdef", 1),
        ("pg_get_triggerdef", 2),
    ] {
        let names = Unwinding(names.clone());
        connection.create_scalar_function(name, arguments, flags(), move |c| {
            let names = &names;
            Ok(integer(c, 0).and_then(|oid| names.0.definition(oid)))
        })?;
    }
    let known = Unwinding(names.clone());
    connection.create_scalar_function("pg_regclass", 1, flags(), move |c| {
        let known = &known;
        let name = text(c, 0)?;
        let Some(name) = name else { return Ok(None) };
        match name.parse::<i64>().ok().or_else(|| known.0.oid(&name)) {
            Some(oid) => Ok(Some(oid)),
            None => Err(failure(format!("relation \"{name}\" does not exist"))),
        }
    })?;
    let known = Unwinding(names.clone());
    connection.create_scalar_function("to_regclass", 1, flags(), move |c| {
        let known = &known;
        Ok(text(c, 0)?.and_then(|name| known.0.oid(&name)))
    })?;
    let known = Unwinding(names.clone());
    connection.create_scalar_function("pg_regclass_name", 1, flags(), move |c| {
        let known = &known;
        Ok(match integer(c, 0) {
            Some(oid) => Some(known.0.relation(oid).unwrap_or_else(|| oid.to_string())),
            None => text(c, 0)?,
        })
    })?;
    add(connection, "pg_regtype_name", 1, |c| {
        Ok(match integer(c, 0) {
            Some(0) => Some("-".to_owned()),
            Some(oid) => Some(types::display(Type::from_oid(oid as u32))),
            None => text(c, 0)?,
        })
    })?;
    add(connection, "pg_regnamespace_name", 1, |c| {
        Ok(match integer(c, 0) {
            Some(11) => Some("pg_catalog".to_owned()),
            Some(2200) => Some("public".to_owned()),
            _ => text(c, 0)?,
        })
    })?;
    add(connection, "pg_regproc_name", 1, |c| text(c, 0))
}

/// The map behind a mutex stays whole when a function panics.
struct Unwinding(Names);
impl std::panic::UnwindSafe for Unwinding {}
impl std::panic::RefUnwindSafe for Unwinding {}

//! SQLite's declared types as PostgreSQL types.
//!
//! SQLite stores any value in any column, so a declared type is a promise of
//! the schema, not of the value. The door copes with values that break it.

use crate::backend::rows::Type;

/// The PostgreSQL type for the declared type of a column.
///
/// Follows SQLite's own affinity rules (<https://www.sqlite.org/datatype3.html>, 3.1)
/// after the names PostgreSQL knows better.
pub fn declared(text: &str) -> Type {
    let lower = text.trim().to_ascii_lowercase();
    let (name, arguments) = split(&lower);
    if let Some(known) = named(&name, &arguments) {
        return known;
    }
    match () {
        () if name.is_empty() => Type::TEXT,
        () if name.contains("int") => Type::INT8,
        () if ["char", "clob", "text"]
            .iter()
            .any(|part| name.contains(part)) =>
        {
            Type::TEXT
        }
        () if name.contains("blob") => Type::BYTEA,
        () if ["real", "floa", "doub"]
            .iter()
            .any(|part| name.contains(part)) =>
        {
            Type::FLOAT8
        }
        () => Type::TEXT,
    }
}

/// The type a cast names; none when this gate does not know it.
pub fn named(name: &str, arguments: &[i32]) -> Option<Type> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let length = arguments.first().copied();
    let with_length = |t: Type| length.map_or(t, |n| t.with(n.saturating_add(4)));
    Some(match name {
        "int" | "integer" | "bigint" | "int8" | "mediumint" | "serial" | "bigserial" => Type::INT8,
        "int4" => Type::INT4,
        "smallint" | "int2" | "tinyint" | "smallserial" => Type::INT2,
        "bool" | "boolean" => Type::BOOL,
        "text" | "clob" => Type::TEXT,
        "varchar" | "character varying" | "nvarchar" | "varying character" => {
            with_length(Type::VARCHAR)
        }
        "char" | "character" | "bpchar" | "nchar" => with_length(Type::BPCHAR),
        "name" => Type::NAME,
        "blob" | "bytea" | "binary" | "varbinary" => Type::BYTEA,
        "real" | "double" | "double precision" | "float" | "float8" => Type::FLOAT8,
        "float4" => Type::FLOAT4,
        "numeric" | "decimal" | "dec" | "number" => match arguments {
            [precision, rest @ ..] => {
                let scale = rest.first().copied().unwrap_or(0);
                Type::NUMERIC.with(((precision & 0xffff) << 16 | scale & 0xffff) + 4)
            }
            [] => Type::NUMERIC,
        },
        "date" => Type::DATE,
        "time" | "time without time zone" => Type::TIME,
        "timestamp" | "datetime" | "timestamp without time zone" => Type::TIMESTAMP,
        "timestamptz" | "timestamp with time zone" => Type::TIMESTAMPTZ,
        "interval" => Type::INTERVAL,
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        "uuid" => Type::UUID,
        "oid" => Type::OID,
        "regclass" => Type::REGCLASS,
        _ => return None,
    })
}

/// The type a cast names, as PostgreSQL reads it: there `int` is four bytes long.
pub fn cast(name: &str, arguments: &[i32]) -> Option<Type> {
    match name.strip_prefix("pg_catalog.").unwrap_or(name) {
        "int" | "integer" => Some(Type::INT4),
        "real" => Some(Type::FLOAT4),
        _ => named(name, arguments),
    }
}

/// What format_type would print.
pub fn display(kind: Type) -> String {
    let modifier = kind.modifier;
    match kind.oid {
        16 => "boolean".into(),
        18 => "\"char\"".into(),
        20 => "bigint".into(),
        21 => "smallint".into(),
        23 => "integer".into(),
        700 => "real".into(),
        701 => "double precision".into(),
        1042 if modifier > 4 => format!("character({})", modifier - 4),
        1042 => "character".into(),
        1043 if modifier > 4 => format!("character varying({})", modifier - 4),
        1043 => "character varying".into(),
        1083 => "time without time zone".into(),
        1114 => "timestamp without time zone".into(),
        1184 => "timestamp with time zone".into(),
        1700 if modifier > 4 => {
            let packed = modifier - 4;
            format!("numeric({},{})", (packed >> 16) & 0xffff, packed & 0xffff)
        }
        _ => kind.name().into(),
    }
}

/// `varchar(10)` into the name and the numbers in brackets.
fn split(text: &str) -> (String, Vec<i32>) {
    let Some((name, rest)) = text.split_once('(') else {
        return (
            text.split_whitespace().collect::<Vec<_>>().join(" "),
            Vec::new(),
        );
    };
    let (inner, after) = rest.split_once(')').unwrap_or((rest, ""));
    let numbers = inner
        .split(',')
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    let name = format!("{} {}", name.trim(), after.trim());
    (name.trim().to_owned(), numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_declared_types() {
        let cases = [
            ("INTEGER", Type::INT8),
            ("BOOLEAN", Type::BOOL),
            ("DOUBLE", Type::FLOAT8),
            ("VARCHAR(10)", Type::VARCHAR.with(14)),
            ("NUMERIC(10, 2)", Type::NUMERIC.with((10 << 16 | 2) + 4)),
            ("timestamp with time zone", Type::TIMESTAMPTZ),
            ("UNSIGNED BIG INT", Type::INT8),
            ("", Type::TEXT),
            ("anything", Type::TEXT),
            ("LONG BLOB", Type::BYTEA),
        ];
        for (text, expected) in cases {
            assert_eq!(declared(text), expected, "{text}");
        }
    }

    #[test]
    fn prints_types_as_psql_expects() {
        assert_eq!(display(declared("numeric(10,2)")), "numeric(10,2)");
        assert_eq!(display(declared("varchar(40)")), "character varying(40)");
        assert_eq!(display(declared("datetime")), "timestamp without time zone");
    }
}

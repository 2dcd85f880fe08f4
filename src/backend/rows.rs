//! Typed rows: what backends that do not speak a wire protocol of their own answer with.
//!
//! Deliberately not here: encodings. A door turns a [`Value`] into bytes.

use std::sync::Arc;

/// A type as PostgreSQL's catalog numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type {
    /// OID in pg_type.
    pub oid: u32,
    /// Type modifier, -1 when none.
    pub modifier: i32,
}

macro_rules! types {
    ($($(#[$meta:meta])* $name:ident = $oid:literal, $size:literal, $text:literal;)+) => {
        impl Type {
            $($(#[$meta])* pub const $name: Type = Type { oid: $oid, modifier: -1 };)+

            /// Every type this backend answers with: type, size, name in pg_type.
            pub const ALL: &'static [(Type, i16, &'static str)] = &[$((Type::$name, $size, $text),)+];
        }
    };
}

types! {
    /// boolean
    BOOL = 16, 1, "bool";
    /// bytea
    BYTEA = 17, -1, "bytea";
    /// "char"
    CHAR = 18, 1, "char";
    /// name
    NAME = 19, 64, "name";
    /// bigint
    INT8 = 20, 8, "int8";
    /// smallint
    INT2 = 21, 2, "int2";
    /// integer
    INT4 = 23, 4, "int4";
    /// text
    TEXT = 25, -1, "text";
    /// oid
    OID = 26, 4, "oid";
    /// json
    JSON = 114, -1, "json";
    /// real
    FLOAT4 = 700, 4, "float4";
    /// double precision
    FLOAT8 = 701, 8, "float8";
    /// unknown
    UNKNOWN = 705, -2, "unknown";
    /// character(n)
    BPCHAR = 1042, -1, "bpchar";
    /// character varying
    VARCHAR = 1043, -1, "varchar";
    /// date
    DATE = 1082, 4, "date";
    /// time without time zone
    TIME = 1083, 8, "time";
    /// timestamp without time zone
    TIMESTAMP = 1114, 8, "timestamp";
    /// timestamp with time zone
    TIMESTAMPTZ = 1184, 8, "timestamptz";
    /// interval
    INTERVAL = 1186, 16, "interval";
    /// numeric
    NUMERIC = 1700, -1, "numeric";
    /// regclass
    REGCLASS = 2205, 4, "regclass";
    /// uuid
    UUID = 2950, 16, "uuid";
    /// jsonb
    JSONB = 3802, -1, "jsonb";
}

impl Type {
    /// Bytes of the binary form, negative when it varies.
    pub fn size(self) -> i16 {
        Self::ALL
            .iter()
            .find(|(t, _, _)| t.oid == self.oid)
            .map_or(-1, |(_, size, _)| *size)
    }

    /// A type by its number; unknown numbers are read as text.
    pub fn from_oid(oid: u32) -> Type {
        Self::ALL
            .iter()
            .map(|(t, _, _)| *t)
            .find(|t| t.oid == oid)
            .unwrap_or(Type::TEXT)
    }

    /// Name in pg_type.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(t, _, _)| t.oid == self.oid)
            .map_or("text", |(_, _, name)| name)
    }

    /// Same type with a modifier.
    pub const fn with(self, modifier: i32) -> Type {
        Type {
            oid: self.oid,
            modifier,
        }
    }

    /// Same type, whatever the modifiers.
    pub fn same(self, other: Type) -> bool {
        self.oid == other.oid
    }

    /// Whether values are numbers.
    pub fn is_number(self) -> bool {
        self.is_integer() || matches!(self.oid, 700 | 701 | 1700)
    }

    /// Whether values are whole numbers.
    pub fn is_integer(self) -> bool {
        matches!(self.oid, 20 | 21 | 23 | 26)
    }
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: Arc<str>,
    /// Type.
    pub kind: Type,
    /// The type follows from the text; otherwise it was assumed.
    pub certain: bool,
}

/// One value, as the database stores it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// Whole number.
    Integer(i64),
    /// Floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// Bytes it holds in memory, roughly.
    pub fn weight(&self) -> usize {
        match self {
            Value::Text(text) => 24 + text.len(),
            Value::Blob(bytes) => 24 + bytes.len(),
            _ => 16,
        }
    }
}

/// One row.
pub type Row = Vec<Value>;

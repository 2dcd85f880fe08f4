//! Rows on their way to a client: values, column types, both formats.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::wire::postgres::encode;

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Big,
    /// Sums: PgBouncer sends them as numeric, so that they never overflow a type.
    Numeric,
}

impl Kind {
    pub(super) fn oid(self) -> u32 {
        match self {
            Kind::Text => 25,
            Kind::Int => 23,
            Kind::Big => 20,
            Kind::Numeric => 1700,
        }
    }

    fn size(self) -> i16 {
        match self {
            Kind::Int => 4,
            Kind::Big => 8,
            Kind::Text | Kind::Numeric => -1,
        }
    }
}

/// Names and types.
pub(super) type Columns = &'static [Column];

/// Name and type.
pub(super) type Column = (&'static str, Kind);

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Text(Cow<'static, str>),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned().into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::from(number as u64)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Number(flag.into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Cow<'static, [Column]>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Table {
    pub(super) fn new(columns: Columns) -> Table {
        Table {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, values: Vec<Value>) {
        debug_assert_eq!(values.len(), self.columns.len());
        self.rows.push(values);
    }
}

/// Which columns are wanted in binary: none said, one for all, or one each.
pub(super) fn is_binary(formats: &[bool], column: usize) -> bool {
    match formats {
        [] => false,
        [all] => *all,
        each => each.get(column).copied().unwrap_or(false),
    }
}

/// RowDescription.
pub(super) fn describe(out: &mut BytesMut, columns: &[Column], formats: &[bool]) {
    encode::frame(out, b'T', |out| {
        out.put_u16(columns.len() as u16);
        for (at, (name, kind)) in columns.iter().enumerate() {
            encode::cstr(out, name.as_bytes());
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(kind.oid());
            out.put_i16(kind.size());
            out.put_i32(-1);
            out.put_u16(is_binary(formats, at).into());
        }
    });
}

/// DataRow.
pub(super) fn row(out: &mut BytesMut, columns: &[Column], values: &[Value], formats: &[bool]) {
    encode::frame(out, b'D', |out| {
        out.put_u16(values.len() as u16);
        for (at, (value, (_, kind))) in values.iter().zip(columns).enumerate() {
            match value {
                Value::Null => out.put_i32(-1),
                Value::Number(number) if is_binary(formats, at) => binary(out, *kind, *number),
                Value::Number(number) => text(out, &number.to_string()),
                Value::Text(written) => text(out, written),
            }
        }
    });
}

fn text(out: &mut BytesMut, value: &str) {
    out.put_i32(value.len() as i32);
    out.put_slice(value.as_bytes());
}

fn binary(out: &mut BytesMut, kind: Kind, number: i64) {
    match kind {
        Kind::Int => {
            out.put_i32(4);
            out.put_i32(i32::try_from(number).unwrap_or(i32::MAX));
        }
        Kind::Big => {
            out.put_i32(8);
            out.put_i64(number);
        }
        Kind::Text => text(out, &number.to_string()),
        Kind::Numeric => numeric(out, number),
    }
}

/// PostgreSQL's own form of a whole number: digits to the base of ten thousand.
fn numeric(out: &mut BytesMut, number: i64) {
    let mut digits = Vec::new();
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        digits.push((rest % 10_000) as i16);
        rest /= 10_000;
    }
    let weight = digits.len().saturating_sub(1) as i16;
    // Zeros at the end are not sent; the weight stands for them.
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let sent = &digits[zeros..];
    out.put_i32(8 + 2 * sent.len() as i32);
    out.put_i16(sent.len() as i16);
    out.put_i16(weight);
    out.put_u16(if number < 0 { 0x4000 } else { 0 });
    out.put_i16(0);
    for digit in sent.iter().rev() {
        out.put_i16(*digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_as_numeric() {
        let written = |number| {
            let mut out = BytesMut::new();
            numeric(&mut out, number);
            out[4..]
                .chunks(2)
                .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
                .collect::<Vec<_>>()
        };
        assert_eq!(written(0), [0, 0, 0, 0]);
        assert_eq!(written(7), [1, 0, 0, 0, 7]);
        assert_eq!(written(12_345_678), [2, 1, 0, 0, 1234, 5678]);
        assert_eq!(written(500_000_000), [1, 2, 0, 0, 5]);
        assert_eq!(written(-10_001), [2, 1, 0x4000, 0, 1, 1]);
    }
}
